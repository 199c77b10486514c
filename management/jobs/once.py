"""`milepost jobs --once NAME`: one sweep now, whatever the process `milepost jobs` does meanwhile."""

import typer

from management.accounts.owner import owner_database
from management.db.keyring import load_key_ring
from management.db.pool import INGEST_ROLE, role_url
from management.jobs.books import check_once
from shared.env import Settings

SWEEPS = ("books",)


async def run_once(settings: Settings, name: str, *, full: bool) -> int:
    """The exit status, after what there is to say. Raises SettingsError where no database is named."""
    if name not in SWEEPS:
        typer.echo(f"milepost: no sweep is called {name}; there is {', '.join(SWEEPS)}", err=True)
        return 2
    url = role_url(owner_database(settings), INGEST_ROLE, load_key_ring(settings, create=False))
    status, lines = await check_once(url, full=full)
    for line in lines:
        typer.echo(line)
    return status
