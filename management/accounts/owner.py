"""Accounts made outside the API: the installation's owner at the first start, others from the command line."""

import secrets

import orjson
import typer

from management.accounts import service
from management.db.keyring import load_key_ring
from management.db.pool import APP_ROLE, INGEST_ROLE, UNREACHABLE, role_url
from shared.data_dir import DataDir
from shared.env import Settings, SettingsError

DEFAULT_EMAIL = "owner@localhost.localdomain"


async def first_start(settings: Settings) -> str | None:
    """Make the owner if there is no account yet; the text that shows the login, None when there was nothing to do."""
    assert settings.database_url is not None
    ring = load_key_ring(settings, create=False)
    if await service.has_accounts(role_url(settings.database_url, INGEST_ROLE, ring)):
        return None
    email = settings.owner_email or DEFAULT_EMAIL
    password = settings.owner_password or secrets.token_urlsafe(15)
    app_url = role_url(settings.database_url, APP_ROLE, ring)
    await service.create_account(app_url, company_name="Owner", email=email, password=password)
    shown = "(MILEPOST_OWNER_PASSWORD)" if settings.owner_password else password
    return f"  e-mail    {email}\n  password  {shown}"


async def create_from_command_line(
    settings: Settings, company_name: str, email: str, password: str | None, plan: str
) -> int:
    """`milepost account create`; the exit status, after one sentence about what went wrong."""
    generated = password or secrets.token_urlsafe(15)
    try:
        app_url = role_url(owner_database(settings), APP_ROLE, load_key_ring(settings, create=False))
        _, public_id = await service.create_account(
            app_url, company_name=company_name, email=email, password=generated, plan=plan
        )
    except service.EmailTaken:
        typer.echo(f"milepost: {email} is already the login of an account", err=True)
        return 1
    except ValueError as error:
        typer.echo(f"milepost: {error}", err=True)
        return 1
    except UNREACHABLE as error:
        typer.echo(f"milepost: the database does not answer: {error}", err=True)
        return 1
    typer.echo(f"{public_id}  {email}" + ("" if password else f"\npassword, shown only now: {generated}"))
    return 0


def owner_database(settings: Settings) -> str:
    """The database's URL: the setting, else that of a running `milepost up`. Raises SettingsError in one sentence."""
    if settings.database_url is not None:
        return settings.database_url
    try:
        url: str = orjson.loads(DataDir.at(settings.data_dir).endpoints.read_bytes())["database_url"]
    except FileNotFoundError:
        raise SettingsError(
            (f"MILEPOST_DATABASE_URL: not given, and no `milepost up` is running on {settings.data_dir}",)
        ) from None
    return url
