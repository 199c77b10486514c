"""An account of the rehearsal's own, so that its figures hold nothing else."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from management.accounts.service import create_account
from management.db.keyring import load_key_ring
from management.db.pool import APP_ROLE, UNREACHABLE, role_url
from management.rehearsal.errors import RehearsalError
from shared.env import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """A new account and its owner's login, which nobody else knows."""

    company_name: str
    email: str
    password: str


async def make_account(settings: Settings, database_url: str | None, purpose: str, now: datetime) -> OwnAccount:
    """Make the account `<purpose>-<date>` as the installation's owner would; raises RehearsalError."""
    if database_url is None:
        raise RehearsalError(
            f"Nothing says where the database is: run `milepost up` on {settings.data_dir} or set MILEPOST_DATABASE_URL"
        )
    date = now.astimezone(UTC).date().isoformat()
    account = OwnAccount(
        f"{purpose}-{date}",
        f"{purpose}-{date}-{secrets.token_hex(4)}@localhost.localdomain",
        secrets.token_urlsafe(18),
    )
    try:
        app_url = role_url(database_url, APP_ROLE, load_key_ring(settings, create=False))
        await create_account(app_url, company_name=account.company_name, email=account.email, password=account.password)
    except SettingsError as error:
        raise RehearsalError(str(error)) from error
    except UNREACHABLE as error:
        raise RehearsalError(f"The account cannot be made, the database does not answer: {error}") from error
    return account
