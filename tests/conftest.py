"""Fixtures every test folder shares: a real Postgres server for the session, a migrated database for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from management.db.pool import APP_ROLE, INGEST_ROLE, role_url
from shared.ids import KeyRing
from tests import postgres

pytest_plugins = ["tests.kafka.fixtures"]


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    """The key ring of the session's Postgres server: roles belong to the server, so all databases share it."""
    return KeyRing.generate()


@pytest.fixture(scope="session")
def server_url(ring: KeyRing) -> Iterator[str]:
    """URL of a running Postgres server as its owner."""
    with postgres.server() as url:
        asyncio.run(postgres.make_template(url, ring))
        yield url


@pytest.fixture
async def database_url(server_url: str) -> AsyncIterator[str]:
    """A fresh, migrated database of the test's own, as its owner."""
    url = await postgres.make_database(server_url)
    yield url
    await postgres.drop_database(server_url, url)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The test's database past all policies."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def app_url(database_url: str, ring: KeyRing) -> str:
    """The test's database as milepost_app."""
    return role_url(database_url, APP_ROLE, ring)


@pytest.fixture
def ingest_url(database_url: str, ring: KeyRing) -> str:
    """The test's database as milepost_ingest."""
    return role_url(database_url, INGEST_ROLE, ring)
