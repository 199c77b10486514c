"""The command `milepost`: one function a subcommand, each importing what it needs only when it runs."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from management.deadletters.commands import deadletters_app
from shared.env import Settings, SettingsError, load

app = typer.Typer(
    name="milepost",
    help="Self-hosted click tracker. `milepost up` runs everything on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
account_app = typer.Typer(help="Accounts of this installation.", no_args_is_help=True)
app.add_typer(account_app, name="account")
app.add_typer(deadletters_app, name="deadletters")


def main() -> None:
    """Run the command line; bad settings are all named at once and end with status 2."""
    try:
        app()
    except SettingsError as error:
        _refuse_settings(error)


def _refuse_settings(error: SettingsError) -> None:
    for problem in error.problems:
        typer.echo(f"milepost: {problem}", err=True)
    sys.exit(2)


def _settings() -> Settings:
    return load(os.environ)


def _service(part: str, run: Callable[[Settings], Awaitable[int]]) -> None:
    """Run one long-lived process of its own; it needs its servers named in the settings."""
    import uvloop

    from shared.log import configure

    settings = _settings()
    missing = [
        f"MILEPOST_{name.upper()}: needed by `milepost {part}`; `milepost up` brings its own server"
        for name in ("database_url", "redis_url")
        if getattr(settings, name) is None and (name == "database_url" or part in ("api", "jobs"))
    ]
    if missing:
        raise SettingsError(tuple(missing))
    configure(part)

    async def process() -> int:
        return await run(settings)

    sys.exit(uvloop.run(process()))


@app.command()
def up() -> None:
    """Run everything on this machine: embedded Postgres and Valkey, edge, ingest, fold, api, jobs;
    with MILEPOST_KAFKA_BOOTSTRAP also ship.

    The first start makes the owner and prints the login once. Ctrl-C stops in order and loses nothing.
    """
    from management.accounts.owner import first_start
    from management.doctor import findings
    from management.embedded import supervisor

    sys.exit(supervisor.run(_settings(), first_start=first_start, findings=findings))


@app.command()
def edge() -> None:
    """Answer tracking links and postbacks (needs no other server: it starts from its copy on disk)."""
    _settings()
    os.execv(sys.executable, [sys.executable, "-m", "edge"])


@app.command()
def ship() -> None:
    """Ship what this machine's edge journals to Kafka (MILEPOST_KAFKA_BOOTSTRAP), for `milepost ingest` to store.

    Runs beside `milepost edge` on its data directory, one a directory. Makes the topics when they are missing, keeps
    each worker's events in order, sends again only what Kafka lost or ingest passed over, and deletes from the journal
    what is stored. Needs no database. Its figures: `run/ship.status` in the data directory.
    """
    _settings()
    os.execv(sys.executable, [sys.executable, "-m", "edge.shipper"])


@app.command()
def ingest() -> None:
    """Store what the edges journaled in Postgres, exactly once."""
    from management.ingest.loop import run

    _service("ingest", run)


@app.command()
def fold() -> None:
    """Make labels, conversions and figures of what was stored."""
    from management.fold.loop import run

    _service("fold", run)


@app.command()
def api() -> None:
    """Serve the management API."""
    from management.api.app import run

    _service("api", run)


@app.command()
def jobs(
    once: Annotated[str | None, typer.Option(help="Run one sweep now and end: `books`.")] = None,
    full: Annotated[bool, typer.Option(help="With `--once books`: count every row again.")] = False,
) -> None:
    """Tell edges of changes, keep salts and partitions ahead, check the books."""
    from management.jobs.loop import run

    if once is not None:
        from management.jobs.once import run_once

        sys.exit(asyncio.run(run_once(_settings(), once, full=full)))
    _service("jobs", run)


@app.command()
def migrate() -> None:
    """Bring the database schema up to date (as the owner that MILEPOST_DATABASE_URL names)."""
    from management.db.keyring import load_key_ring
    from management.db.migrate import MigrationError
    from management.db.migrate import migrate as apply
    from management.db.pool import UNREACHABLE

    settings = _settings()
    if settings.database_url is None:
        raise SettingsError(("MILEPOST_DATABASE_URL: needed by `milepost migrate`; `milepost up` migrates its own",))
    try:
        applied = asyncio.run(apply(settings.database_url, load_key_ring(settings, create=True)))
    except (MigrationError, *UNREACHABLE) as error:
        typer.echo(f"milepost: the database was not migrated: {error}", err=True)
        sys.exit(1)
    typer.echo("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


@app.command()
def doctor() -> None:
    """Look for what would break the promise that every answered click is counted; exit 1 when something does."""
    from management.doctor import findings

    problems = asyncio.run(findings(_settings()))
    for problem in problems:
        typer.echo(problem)
    if not problems:
        typer.echo("nothing found that would lose a click")
    sys.exit(1 if problems else 0)


@account_app.command("create")
def account_create(
    company_name: Annotated[str, typer.Argument(help="Name of the account.")],
    email: Annotated[str, typer.Option(help="E-mail of its first user, the owner.")],
    password: Annotated[str | None, typer.Option(help="Password; generated and shown when not given.")] = None,
    plan: Annotated[str, typer.Option(help="starter, professional or enterprise.")] = "enterprise",
) -> None:
    """Make an account with its first user."""
    from management.accounts.owner import create_from_command_line

    sys.exit(asyncio.run(create_from_command_line(_settings(), company_name, email, password, plan)))


@app.command()
def replay(
    log: Annotated[Path, typer.Argument(help="Access log: Combined Log Format or JSON lines; .gz too.")],
    campaign: Annotated[int | None, typer.Option(help="Campaign to drive; needs --email and --password.")] = None,
    email: Annotated[str | None, typer.Option(help="Login for --campaign.")] = None,
    password: Annotated[str | None, typer.Option(help="Password for --campaign.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Times the log's own speed; not given: as fast as it goes.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Clicks a second, instead of --speed.")] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many clicks.")] = None,
    edge_url: Annotated[str | None, typer.Option("--edge", help="Where links are answered.")] = None,
    api_url: Annotated[str | None, typer.Option("--api", help="Where the API is.")] = None,
) -> None:
    """Drive an access log through the edge, one GET line = one click, and show the figures the API then gives.

    Without --campaign it makes an account with one campaign for itself.
    """
    from rich.console import Console

    from management.rehearsal.replay import ReplayOptions
    from management.rehearsal.replay import replay as drive

    options = ReplayOptions(
        log=log,
        campaign=campaign,
        email=email,
        password=password,
        speed=speed,
        rate=rate,
        limit=limit,
        edge_url=edge_url,
        api_url=api_url,
    )
    sys.exit(asyncio.run(drive(_settings(), options, Console())))


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="The same seed gives the same traffic.")] = 1,
    clicks: Annotated[int, typer.Option(help="How many clicks to drive.")] = 2_000,
) -> None:
    """Make an account with three campaigns, drive seeded traffic, and check every figure against what was sent."""
    from rich.console import Console

    from management.rehearsal.demo import DemoOptions
    from management.rehearsal.demo import demo as drive

    sys.exit(asyncio.run(drive(_settings(), DemoOptions(seed=seed, clicks=clicks), Console())))


if __name__ == "__main__":
    main()
