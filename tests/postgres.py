"""A real Postgres for the tests: one embedded server a test session, one migrated database a test."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from management.db.migrate import migrate
from management.embedded.postgres import EmbeddedPostgres
from shared.data_dir import DataDir
from shared.ids import KeyRing

TEMPLATE = "milepost_template"


@contextmanager
def server() -> Iterator[str]:
    """A running server, until the block ends; its URL as the owner."""
    with tempfile.TemporaryDirectory(prefix="milepost-test-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(DataDir.at(Path(folder)))
        url = asyncio.run(postgres.start())
        try:
            yield url
        finally:
            asyncio.run(postgres.stop())


def database_url(server_url: str, name: str) -> str:
    return server_url.rpartition("/")[0] + "/" + name


async def make_template(server_url: str, ring: KeyRing) -> None:
    """Migrate one database that every test's own is a copy of."""
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    finally:
        await connection.close()
    await migrate(database_url(server_url, TEMPLATE), ring)


async def make_database(server_url: str) -> str:
    """A fresh migrated database; returns its URL as the owner."""
    name = f"test_{os.getpid()}_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    finally:
        await connection.close()
    return database_url(server_url, name)


async def drop_database(server_url: str, url: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
    finally:
        await connection.close()
