"""`milepost deadletters …`: what stands on its command lines; the work is imported only when it is done."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shared.env import load

if TYPE_CHECKING:
    from management.deadletters.repository import Selection

deadletters_app = typer.Typer(
    help="Records that could not be stored. Ingest keeps each as a dead letter and goes on, but stops when more than"
    " 100 of the last 10,000 records, or more than 100 in a row, are dead: then look (`list`), mend or upgrade,"
    " store them after all (`redrive`), or go on deliberately (`accept`).",
    no_args_is_help=True,
)


class Kind(StrEnum):
    """What a record is of."""

    CLICK = "click"
    POSTBACK = "postback"
    STRANGER = "stranger"


_Stream = Annotated[str | None, typer.Option("--stream", metavar="HEX", help="Id of the stream, or its beginning.")]
_Seq = Annotated[int | None, typer.Option("--seq", min=0, help="Only this record; needs --stream.")]


@deadletters_app.command("list")
def list_letters(
    stream: _Stream = None,
    kind: Annotated[Kind | None, typer.Option(help="Only records of this kind.")] = None,
    since: Annotated[str | None, typer.Option(help="Not before: 24h, 7d, or a date or time (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the youngest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the whole payload.")] = False,
) -> None:
    """Show dead letters: when, where from, why, and how the payload begins (secrets masked)."""
    from management.deadletters import service

    selection = _selection(stream, None, kind, since)
    sys.exit(asyncio.run(service.show(load(os.environ), selection, limit, as_json=as_json)))


@deadletters_app.command()
def redrive(
    stream: _Stream = None,
    seq: _Seq = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter there is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try each in Postgres, and undo it.")] = False,
) -> None:
    """Store dead letters after all, each exactly once, by this version's rules; ingest may run meanwhile.

    What still cannot be stored stays, with its new reason, and makes the exit status 1.
    """
    from management.deadletters import service

    if everything == (stream is not None):
        raise typer.BadParameter("say which: --stream HEX, with or without --seq, or --all")
    if seq is not None and stream is None:
        raise typer.BadParameter("--seq counts inside one stream: it needs --stream")
    selection = _selection(stream, seq, None, None)
    sys.exit(asyncio.run(service.redrive(load(os.environ), selection, dry_run=dry_run)))


@deadletters_app.command()
def accept(
    following: Annotated[
        int, typer.Option("--next", min=0, help="Let so many further dead letters pass uncounted too.")
    ] = 0,
) -> None:
    """Let a stopped ingest go on: the dead letters there are count no longer. They stay, and can be redriven later.

    Ingest may then bury another 100 before it stops again; --next N is for more that is known to be hopeless.
    """
    from management.deadletters import service

    sys.exit(asyncio.run(service.accept(load(os.environ), following)))


def _selection(stream: str | None, seq: int | None, kind: Kind | None, since: str | None) -> "Selection":
    from management.deadletters import shown
    from management.deadletters.repository import Selection

    number = None if kind is None else next(n for n, name in shown.KINDS.items() if name == kind.value)
    try:
        streams = None if stream is None else shown.stream_range(stream)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stream") from None
    try:
        moment = None if since is None else shown.earliest(since, datetime.now(UTC))
    except ValueError:
        raise typer.BadParameter("must be like 24h, 7d, 2026-11-21 or 2026-11-21T09:30", param_hint="--since") from None
    return Selection(streams, seq, number, moment)
