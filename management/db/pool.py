"""Connections to Postgres: one URL for each role, one pool for each service, one transaction for each request.

Three roles. The owner (MILEPOST_DATABASE_URL) is used by `migrate` alone. `milepost_app` serves tenants and sees
only rows of the account that the transaction names. `milepost_ingest` stores, folds and publishes for all.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NewType
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from shared.ids import KeyRing

APP_ROLE = "milepost_app"
INGEST_ROLE = "milepost_ingest"
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]
    SoleConnection = asyncpg.Connection[asyncpg.Record]
else:
    Pool = Connection = SoleConnection = object

Reading = NewType("Reading", Connection)
"""A connection in a read-only transaction of one account."""
Writing = NewType("Writing", Connection)
"""A connection in a read-write transaction of one account."""

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a backend that ended between two messages
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,  # too many connections, no memory, a full disk
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""What a Postgres that is away, starting, stopping or full raises: the call may come again later."""

_SERVER_SETTINGS = {
    # Partitions are pruned by the actual day: a generic plan would open them all.
    "plan_cache_mode": "force_custom_plan",
    "timezone": "UTC",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}


def role_password(ring: KeyRing, role: str) -> str:
    """The password of a login role, derived from the oldest key of the ring, so that every host knows it."""
    secret = ring.keys[-1].secret
    return hashlib.blake2b(role.encode(), key=secret, digest_size=24, person=b"database role").hexdigest()


def role_url(owner_url: str, role: str, ring: KeyRing) -> str:
    """`owner_url` with the role's own name and password."""
    parts = urlsplit(owner_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(role_password(ring, role))}@{address}"))


async def connect(url: str, *, application: str) -> asyncpg.Connection:
    """One connection, for the single writers; raises OSError or asyncpg.PostgresError."""
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=STATEMENT_SECONDS * 2,
        server_settings={**_SERVER_SETTINGS, "application_name": application},
    )


async def open_pool(url: str, *, application: str, size: int = 10) -> Pool:
    """A pool that connects when first used, so that a service starts while Postgres is still away."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        timeout=CONNECT_SECONDS,
        command_timeout=STATEMENT_SECONDS,
        max_inactive_connection_lifetime=300.0,
        server_settings={**_SERVER_SETTINGS, "application_name": application},
    )


@asynccontextmanager
async def reading(pool: Pool, account_id: int) -> AsyncIterator[Reading]:
    """A read-only transaction that sees one account, in one snapshot."""
    async with _tenant(pool, account_id, read_only=True) as connection:
        yield Reading(connection)


@asynccontextmanager
async def writing(pool: Pool, account_id: int) -> AsyncIterator[Writing]:
    """A transaction that sees and changes one account; committed at the end, undone by any exception."""
    async with _tenant(pool, account_id, read_only=False) as connection:
        yield Writing(connection)


@asynccontextmanager
async def _tenant(pool: Pool, account_id: int, *, read_only: bool) -> AsyncIterator[Connection]:
    async with (
        pool.acquire(timeout=CONNECT_SECONDS) as connection,
        connection.transaction(isolation="repeatable_read" if read_only else "read_committed", readonly=read_only),
    ):
        await connection.execute("SELECT set_config('milepost.account', $1, true)", str(account_id))
        yield connection
