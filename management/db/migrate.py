"""Brings the schema up to date: login roles first, then each numbered file once, in one transaction each.

Runs as the owner of the database, who must be allowed to create roles. Several at once are safe: one works, the
others wait for its advisory lock and find nothing left to do.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources

import asyncpg

from management.db.pool import APP_ROLE, INGEST_ROLE, connect, role_password
from shared.ids import KeyRing

_LOCK = 7_310_001
MINIMUM_SERVER = 15


class MigrationError(Exception):
    """The schema cannot be brought up to date; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """All numbered files, in order; the numbers are 1, 2, 3 …"""
    folder = resources.files("management.db").joinpath("migrations")
    found = sorted(
        (
            Migration(int(file.name.split("_")[0]), file.name, file.read_text(encoding="utf-8"))
            for file in folder.iterdir()
            if file.name.endswith(".sql")
        ),
        key=lambda migration: migration.number,
    )
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError("the numbers of the migration files have a gap or a twin")
    return tuple(found)


async def migrate(owner_url: str, ring: KeyRing) -> list[str]:
    """Apply what is missing; returns the names applied. Raises MigrationError, or what db.pool.UNREACHABLE lists."""
    connection = await connect(owner_url, application="milepost migrate")
    try:
        if connection.get_server_version().major < MINIMUM_SERVER:
            raise MigrationError("Postgres 15 or newer is needed")
        await connection.execute("SET lock_timeout = '5min'")
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _make_roles(connection, ring)
        return await _apply(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(f"the role of MILEPOST_DATABASE_URL may not do it: {error}") from error
    finally:
        await connection.close()


async def _make_roles(connection: asyncpg.Connection, ring: KeyRing) -> None:
    for role in (APP_ROLE, INGEST_ROLE):
        exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        # The password is hexadecimal and the role a constant: nothing here comes from outside.
        verb = "ALTER" if exists else "CREATE"
        await connection.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{role_password(ring, role)}'")


async def _apply(connection: asyncpg.Connection) -> list[str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    done = {row["number"]: row for row in await connection.fetch("SELECT * FROM schema_migrations")}
    known = migrations()
    if done and max(done) > len(known):
        raise MigrationError("the database was migrated by a newer milepost; install that version or newer")
    applied = []
    for migration in known:
        if migration.number in done:
            if done[migration.number]["checksum"] != migration.checksum:
                raise MigrationError(f"{migration.name} was changed after it had been applied")
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
        applied.append(migration.name)
    return applied
