"""What accounts decide: who may log in, what a change means, how an account comes to be."""

import re
import secrets
from dataclasses import replace
from typing import Final

from management.accounts import repository
from management.accounts.repository import Account, EmailTaken, Login
from management.accounts.schemas import AccountChange
from management.api.passwords import Passwords, hash_password
from management.api.tokens import Credential
from management.db.pool import Pool
from management.errors import AUTHENTICATION, AUTHORIZATION, Refusal, because

__all__ = ["EmailTaken", "changed", "create_account", "has_accounts", "log_in"]

PLANS: Final = ("starter", "professional", "enterprise")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")


async def log_in(pool: Pool, passwords: Passwords, email: str, password: str) -> Credential:
    """The credential of the user with this e-mail and password.

    Raises Refusal: 401 with one text for an unknown e-mail and a wrong password, which also cost the same time;
    403 for the right password of a suspended account.
    """
    # The connection is back in the pool before the hash begins, which takes far longer than the query.
    found: Login | None = await repository.login(pool, email)
    if not await passwords.matches(password, found.password_hash if found else None) or found is None:
        raise Refusal(AUTHENTICATION, "E-mail or password is wrong")
    if found.status != "active":
        raise because(AUTHORIZATION, "ACCOUNT_SUSPENDED", "The account is suspended")
    return Credential(found.user_id, found.account_id, found.credential_version)


def changed(account: Account, wanted: AccountChange) -> Account:
    """`account` with the fields that were sent."""
    return replace(account, **wanted.model_dump(exclude_unset=True))


async def create_account(
    app_url: str, *, company_name: str, email: str, password: str, plan: str = "enterprise"
) -> tuple[int, str]:
    """A new account with its first user, the owner, as milepost_app: (account id, public id `acc_…`).

    Raises EmailTaken, ValueError in one sentence, OSError or asyncpg.PostgresError.
    """
    if _EMAIL.fullmatch(email) is None:
        raise ValueError("the e-mail address is none")
    if not 8 <= len(password) <= 200:
        raise ValueError("the password must have 8 to 200 characters")
    if plan not in PLANS:
        raise ValueError(f"the plan must be one of {', '.join(PLANS)}")
    company_name = company_name.strip()
    if not 1 <= len(company_name) <= 255:
        raise ValueError("the company name must have 1 to 255 characters")
    password_hash = hash_password(password)
    public_id = "acc_" + secrets.token_hex(12)
    async with repository.founding(app_url) as connection:
        account_id = await repository.insert_account(
            connection, public_id=public_id, company_name=company_name, plan=plan
        )
        await repository.insert_owner(
            connection, account_id, email=email.lower(), name=email, password_hash=password_hash
        )
    return account_id, public_id


async def has_accounts(ingest_url: str) -> bool:
    """Whether the first start has happened; `ingest_url` connects as milepost_ingest."""
    return await repository.has_accounts(ingest_url)
