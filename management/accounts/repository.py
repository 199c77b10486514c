"""What accounts and their users ask of Postgres."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from management.db.pool import CONNECT_SECONDS, Connection, Pool, Reading, SoleConnection, Writing, connect
from management.db.queries import Queries

queries = Queries("management.accounts", "queries.sql")


class EmailTaken(Exception):
    """Another user of the installation has this e-mail."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account as it is now."""

    id: int
    public_id: str
    company_name: str
    status: str
    time_zone: str
    currency: str
    fallback_url: str | None
    plan: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """The user a request speaks for, with the account."""

    user_id: int
    email: str
    role: str
    credential_version: int
    account: Account


@dataclass(frozen=True, slots=True)
class Login:
    """What a login is judged by; `status` is the account's."""

    user_id: int
    account_id: int
    password_hash: str
    credential_version: int
    status: str


def account_of(row: Mapping[str, Any], number: str = "id") -> Account:
    """From a row that has the account's columns, its id under `number`."""
    names = (name for name in Account.__slots__ if name != "id")
    return Account(id=row[number], **{name: row[name] for name in names})


async def caller(connection: Reading | Writing, user_id: int, account_id: int) -> Caller | None:
    row = await connection.fetchrow(queries["caller"], user_id, account_id)
    if row is None:
        return None
    return Caller(
        row["user_id"], row["email"], row["role"], row["credential_version"], account_of(dict(row), "account_id")
    )


async def login(pool: Pool, email: str) -> Login | None:
    """The user with this e-mail, whatever the account, with its account's status."""
    async with (
        pool.acquire(timeout=CONNECT_SECONDS) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute(queries["set_login_email"], email)
        row = await connection.fetchrow(queries["login"], email)
        if row is None:
            return None
        await connection.execute(queries["set_account"], str(row["account_id"]))
        status = await connection.fetchval(queries["account_status"], row["account_id"])
    return Login(row["id"], row["account_id"], row["password_hash"], row["credential_version"], status)


async def change(connection: Writing, wanted: Account) -> Mapping[str, Any]:
    """Store the changed fields and raise the routing version; gives the whole row of `accounts`."""
    version = await connection.fetchval(queries["raise_routing_version"])
    row = await connection.fetchrow(
        queries["change_account"],
        wanted.id,
        wanted.company_name,
        wanted.time_zone,
        wanted.currency,
        wanted.fallback_url,
        version,
    )
    assert row is not None, "the account was read in this transaction"
    return dict(row)


@asynccontextmanager
async def founding(app_url: str) -> AsyncIterator[SoleConnection]:
    """A transaction of milepost_app that belongs to no account yet, for the command line."""
    connection = await connect(app_url, application="milepost account create")
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def insert_account(
    connection: SoleConnection | Connection, *, public_id: str, company_name: str, plan: str
) -> int:
    """A new account; the transaction speaks for it from here on."""
    account_id: int = await connection.fetchval(queries["next_account_id"])
    await connection.execute(queries["set_account"], str(account_id))
    version = await connection.fetchval(queries["raise_routing_version"])
    await connection.execute(queries["insert_account"], account_id, public_id, company_name, plan, version)
    return account_id


async def insert_owner(
    connection: SoleConnection | Connection, account_id: int, *, email: str, name: str, password_hash: str
) -> None:
    """The account's first user. Raises EmailTaken."""
    try:
        await connection.execute(queries["insert_user"], account_id, email, name, "owner", password_hash)
    except asyncpg.UniqueViolationError:
        raise EmailTaken(email) from None


async def has_accounts(ingest_url: str) -> bool:
    """Whether the installation has any account; asked as milepost_ingest, which sees all of them."""
    connection = await connect(ingest_url, application="milepost account create")
    try:
        found: bool = await connection.fetchval(queries["has_accounts"])
    finally:
        await connection.close()
    return found
