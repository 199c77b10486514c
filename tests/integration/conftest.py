"""Fixtures of all integration tests: an owner that is no superuser, a data directory of the test's own, and
`milepost ingest` processes on it that end with the test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from management.db.pool import APP_ROLE, INGEST_ROLE
from shared.ids import KeyRing
from tests import postgres
from tests.ingest_process import Start, ingests


@pytest.fixture
async def plain_owner_url(server_url: str) -> AsyncIterator[str]:
    """An empty database that belongs to a role which is no superuser."""
    name = f"plain_{secrets.token_hex(4)}"
    server = await asyncpg.connect(server_url)
    await server.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'plain'")
    await server.execute(f"GRANT {INGEST_ROLE}, {APP_ROLE} TO {name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    await server.execute(f"CREATE DATABASE {name} OWNER {name}")
    url = postgres.database_url(server_url, name)
    yield url.replace(url.partition("//")[2].partition("@")[0], f"{name}:plain")
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.execute(f"DROP ROLE {name}")
    await server.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data_dir: Path, database_url: str, ring: KeyRing) -> Iterator[Start]:
    """Starts `milepost ingest`, on this test's data directory and database unless another URL is given."""
    with ingests(data_dir, database_url, ring) as start:
        yield start
