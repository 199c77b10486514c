"""One connection for one command, and a sentence for every way in which Postgres may not be there for it."""

from collections.abc import Awaitable, Callable

import typer

from management.accounts.owner import owner_database
from management.db.keyring import load_key_ring
from management.db.pool import INGEST_ROLE, UNREACHABLE, SoleConnection, connect, role_url
from management.deadletters.repository import INTERRUPTIONS
from shared.env import Settings

FAILED = 1


async def with_database(settings: Settings, work: Callable[[SoleConnection], Awaitable[int]]) -> int:
    """`work`'s exit status; 1, after one sentence, when the database is away or goes away. Raises SettingsError."""
    url = role_url(owner_database(settings), INGEST_ROLE, load_key_ring(settings, create=False))
    try:
        connection = await connect(url, application="milepost deadletters")
    except INTERRUPTIONS as error:
        typer.echo(f"milepost: the database does not answer: {_words(error)}", err=True)
        return FAILED
    try:
        return await work(connection)
    except BrokenPipeError:
        raise  # whoever read the output has enough
    except UNREACHABLE as error:
        typer.echo(f"milepost: the database went away: {_words(error)}", err=True)
    except INTERRUPTIONS as error:
        typer.echo(f"milepost: the database refused: {_words(error)}", err=True)
    finally:
        connection.terminate()
    return FAILED


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
