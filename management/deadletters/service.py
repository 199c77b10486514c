"""The three commands: list, redrive, accept. Each gives its exit status, after what it has to say."""

from typing import Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from management.db.pool import SoleConnection
from management.deadletters import repository, shown
from management.deadletters.repository import INTERRUPTIONS, Letter, Outcome, Selection
from management.deadletters.session import FAILED, with_database
from management.rehearsal.progress import stage
from shared.env import Settings

_SHOWN_BYTES: Final = 400
_SHOWN_CHARACTERS: Final = 60
_WHOLE_BYTES: Final = 1 << 20
_PIPE_COLUMNS: Final = 200
"""How wide the table is where no terminal says its width."""
_FAILURES_SHOWN: Final = 10


async def show(settings: Settings, selection: Selection, limit: int, *, as_json: bool) -> int:
    """`milepost deadletters list`: a table with the total below it, or one JSON object a line; 0."""

    async def work(connection: SoleConnection) -> int:
        payload_bytes = _WHOLE_BYTES if as_json else _SHOWN_BYTES
        found = repository.newest(connection, selection, limit, payload_bytes)
        if as_json:
            async for letter in found:
                typer.echo(orjson.dumps(_members(letter)))
            return 0
        letters = [letter async for letter in found]
        count = await repository.count(connection, selection)
        if not letters:
            typer.echo("no dead letters" + ("" if selection == Selection() else " that match"))
            return 0
        console = Console()
        if not console.is_terminal:
            console = Console(width=_PIPE_COLUMNS)
        console.print(_table(letters))
        accepted = f", {count.accepted:,} of them accepted" if count.accepted else ""
        typer.echo(f"{len(letters):,} of {count.letters:,} dead letters{accepted}")
        return 0

    return await with_database(settings, work)


async def redrive(settings: Settings, selection: Selection, *, dry_run: bool) -> int:
    """`milepost deadletters redrive`: 0 when every letter that was meant is stored, else 1."""

    async def work(connection: SoleConnection) -> int:
        count = await repository.count(connection, selection)
        records = count.letters - count.messages
        if count.messages:
            typer.echo(f"{count.messages:,} unreadable messages name no record; they stay as they are", err=True)
        if not records:
            typer.echo("no dead letters of records" + ("" if selection == Selection() else " that match"), err=True)
            return 0 if selection == Selection() else FAILED
        tally = dict.fromkeys(Outcome, 0)
        try:
            await repository.prepare(connection)
            with stage("Redriving") as progress:
                async for letter in repository.oldest_first(connection, selection, count.last):
                    outcome, reason = await repository.redrive(connection, letter, rehearse=dry_run)
                    tally[outcome] += 1
                    if reason and tally[outcome] <= _FAILURES_SHOWN:
                        typer.echo(
                            f"stream {letter.stream.hex()}, seq {letter.seq}: {shown.reason_text(reason)}", err=True
                        )
                    done = sum(tally.values())
                    progress.show(done / records, f"{done:,} of {records:,}")
        except INTERRUPTIONS:
            typer.echo(_summary(tally, dry_run=dry_run) + "; the rest was not tried, run it again", err=True)
            raise
        typer.echo(_summary(tally, dry_run=dry_run))
        return FAILED if tally[Outcome.STILL_DEAD] else 0

    return await with_database(settings, work)


async def accept(settings: Settings, following: int) -> int:
    """`milepost deadletters accept`."""

    async def work(connection: SoleConnection) -> int:
        accepted = await repository.accept(connection, following)
        typer.echo(
            f"{accepted:,} dead letters are accepted and no longer count"
            + (f"; the next {following:,} will not count either" if following else "")
            + ". A stopped ingest goes on when it is started again."
        )
        return 0

    return await with_database(settings, work)


def _summary(tally: dict[Outcome, int], *, dry_run: bool) -> str:
    parts = [f"{tally[Outcome.STORED]:,} {'would be stored' if dry_run else 'stored'}"]
    if tally[Outcome.REPEATED]:
        parts.append(f"{tally[Outcome.REPEATED]:,} {'are' if dry_run else 'were'} there already")
    parts.append(f"{tally[Outcome.STILL_DEAD]:,} still cannot be stored")
    if tally[Outcome.GONE]:
        parts.append(f"{tally[Outcome.GONE]:,} gone meanwhile")
    return ", ".join(parts)


def _table(letters: list[Letter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("when (UTC)", "stream", "seq", "kind"):
        table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold", ratio=2)
    table.add_column("payload", overflow="fold", ratio=3)
    for letter in letters:
        text = shown.payload_text(letter.payload)
        cells = (
            f"{letter.created_at:%Y-%m-%d %H:%M:%S}",
            letter.stream.hex()[:12],
            str(letter.seq),
            shown.kind_name(letter.kind),
            shown.reason_text(letter.reason.partition("\n")[0]),
            text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…",
        )
        table.add_row(*map(Text, cells))
    return table


def _members(letter: Letter) -> dict[str, object]:
    return {
        "at": letter.created_at,
        "stream": letter.stream.hex(),
        "seq": letter.seq,
        "kind": shown.kind_name(letter.kind),
        "reason": shown.reason_text(letter.reason),
        "accepted": letter.accepted,
        "payload": shown.payload_text(letter.payload),
    }
