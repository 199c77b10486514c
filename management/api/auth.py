"""Who a request speaks for: the token is proven at the border, and holds only if its user and account still do.

Roles: an analyst reads; a manager also writes; admin and owner also change the account.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.datastructures import Headers

from management.accounts import repository
from management.accounts.repository import Account, Caller
from management.api.tokens import Credential
from management.db.pool import Pool, Reading, Writing, reading, writing
from management.errors import AUTHENTICATION, AUTHORIZATION, Refusal, because

READERS: Final = frozenset(("owner", "admin", "manager", "analyst"))
WRITERS: Final = frozenset(("owner", "admin", "manager"))
ADMINS: Final = frozenset(("owner", "admin"))

Connection = TypeVar("Connection", Reading, Writing)


@dataclass(frozen=True, slots=True)
class Tenant(Generic[Connection]):
    """The account that a request acts for, inside the request's one transaction."""

    connection: Connection
    caller: Caller

    @property
    def account(self) -> Account:
        return self.caller.account

    @property
    def writes(self) -> bool:
        """Whether the caller may change things, and so may see tokens in full (X6)."""
        return self.caller.role in WRITERS


def bearer(headers: Headers) -> str:
    """The token of the one Authorization header; raises Refusal (401)."""
    given = headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(AUTHENTICATION)
    return token.strip()


@asynccontextmanager
async def reading_tenant(pool: Pool, credential: Credential) -> AsyncIterator[Tenant[Reading]]:
    async with reading(pool, credential.account_id) as connection:
        caller = await repository.caller(connection, credential.user_id, credential.account_id)
        yield Tenant(connection, _admitted(caller, credential, READERS))


@asynccontextmanager
async def writing_tenant(pool: Pool, credential: Credential, roles: frozenset[str]) -> AsyncIterator[Tenant[Writing]]:
    async with writing(pool, credential.account_id) as connection:
        caller = await repository.caller(connection, credential.user_id, credential.account_id)
        yield Tenant(connection, _admitted(caller, credential, roles))


def _admitted(caller: Caller | None, credential: Credential, roles: frozenset[str]) -> Caller:
    if caller is None or caller.credential_version != credential.version:
        raise Refusal(AUTHENTICATION, "The token is not valid or has ended")
    if caller.account.status != "active":
        raise because(AUTHORIZATION, "ACCOUNT_SUSPENDED", "The account is suspended")
    if caller.role not in roles:
        raise Refusal(AUTHORIZATION)
    return caller
