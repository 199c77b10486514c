"""Dead letters in Postgres, as milepost_ingest: they have no account, so no tenant may read them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

from management.db.pool import SoleConnection
from management.db.queries import Queries
from management.ingest import writer
from management.ingest.batch import dead_letter
from management.ingest.decode import (
    CLICK_COLUMNS,
    POSTBACK_COLUMNS,
    STRANGER_COLUMNS,
    ClickRow,
    DecodeError,
    PostbackRow,
    Row,
    StrangerRow,
    decode,
)

queries = Queries("management.deadletters", "queries.sql")

INTERRUPTIONS: Final = writer.INTERRUPTIONS
_PAGE: Final = 100
_EPOCH: Final = date(1970, 1, 1)
_TABLES: Final[Mapping[type[Row], tuple[str, tuple[str, ...], str]]] = {
    ClickRow: ("incoming_clicks", CLICK_COLUMNS, "store_clicks"),
    PostbackRow: ("incoming_postbacks", POSTBACK_COLUMNS, "store_postbacks"),
    StrangerRow: ("incoming_strangers", STRANGER_COLUMNS, "store_strangers"),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; None takes every one. `streams`: the first and the last stream id, both included."""

    streams: tuple[bytes, bytes] | None = None
    seq: int | None = None
    kind: int | None = None
    since: datetime | None = None

    @property
    def arguments(self) -> tuple[bytes | None, bytes | None, int | None, int | None, datetime | None]:
        first, last = self.streams or (None, None)
        return first, last, self.seq, self.kind, self.since


class Letter(NamedTuple):
    """`payload`: the record's bytes, or as many of them as were asked for. `accepted`: it counts for no limit."""

    id: int
    created_at: datetime
    stream: bytes
    seq: int
    kind: int
    reason: str
    accepted: bool
    payload: bytes


class Count(NamedTuple):
    """`messages`: those that named no record, so that nothing of them can be stored. `last`: the youngest letter's id,
    0 where there is none."""

    letters: int
    accepted: int
    messages: int
    last: int


class Outcome(Enum):
    """What became of a letter: its fact was stored; it was there already; still refused; gone meanwhile."""

    STORED = "stored"
    REPEATED = "repeated"
    STILL_DEAD = "still dead"
    GONE = "gone"


class _Rehearsed(Exception):
    """Undoes a transaction that was only tried."""


async def count(connection: SoleConnection, selection: Selection) -> Count:
    row = await connection.fetchrow(queries["count_letters"], *selection.arguments)
    assert row is not None
    return Count(row["letters"], row["accepted"], row["messages"], row["last"] or 0)


async def newest(
    connection: SoleConnection, selection: Selection, limit: int, payload_bytes: int
) -> AsyncIterator[Letter]:
    """The youngest `limit` letters, youngest first, each with the first `payload_bytes` of its payload."""
    async with connection.transaction(readonly=True):
        found = connection.cursor(queries["newest_letters"], *selection.arguments, limit, payload_bytes, prefetch=_PAGE)
        async for row in found:
            yield Letter(*row.values())


async def oldest_first(connection: SoleConnection, selection: Selection, last: int) -> AsyncIterator[Letter]:
    """Every letter of a record up to and with the id `last`, page by page, in the order they were buried in."""
    seen = 0
    while rows := await connection.fetch(queries["letters_after"], *selection.arguments, seen, last, _PAGE):
        for row in rows:
            yield Letter(*row.values())
        seen = rows[-1]["id"]


async def accept(connection: SoleConnection, following: int) -> int:
    """Count no letter there is, nor the `following` next ones; gives how many counted until now."""
    async with connection.transaction():
        accepted: int = await connection.fetchval(queries["accept_letters"])
        await connection.execute(queries["allow_letters"], following)
    return accepted


async def forget(connection: SoleConnection, age: timedelta, streams: int, letters: int) -> None:
    """Delete letters older than `age`, of at most so many streams, and of each at most so many."""
    for row in await connection.fetch(queries["streams_with_old_letters"], age, streams):
        await connection.execute(queries["forget_letters"], row["stream"], age, letters)


async def prepare(connection: SoleConnection) -> None:
    """Make what `redrive` needs in this session."""
    await connection.execute(writer.queries["make_incoming"])


async def redrive(connection: SoleConnection, letter: Letter, *, rehearse: bool) -> tuple[Outcome, str]:
    """Store what the letter holds and take it out, in one transaction; with `rehearse` that is undone at the end.

    Gives the outcome and, where it is STILL_DEAD, today's reason, which the letter keeps. The stream's position, which
    lies behind the record already, is not moved. Raises one of INTERRUPTIONS; then nothing changed.
    """
    try:
        row = decode(letter.stream, letter.seq, letter.kind, letter.payload)
        return await _store(connection, letter, row, rehearse=rehearse), ""
    except (DecodeError, *writer.REFUSALS) as error:
        reason = dead_letter(letter.stream, (letter.seq, letter.kind, b""), str(error)).reason
    if not rehearse:
        await connection.execute(queries["set_reason"], letter.id, reason)
    return Outcome.STILL_DEAD, reason


async def _store(connection: SoleConnection, letter: Letter, row: Row, *, rehearse: bool) -> Outcome:
    table, columns, statement = _TABLES[type(row)]
    stored = 0
    try:
        async with connection.transaction():
            if isinstance(row, ClickRow):
                await connection.execute(writer.queries["ensure_click_day"], _EPOCH + timedelta(days=row.day))
            if await connection.fetchval(queries["lock_letter"], letter.id) is None:
                return Outcome.GONE
            await connection.fetchval(queries["lock_position"], letter.stream)
            await writer.copy_rows(connection, table, columns, [row.row])
            stored = len(await connection.fetch(writer.queries[statement]))  # one line a stream with new rows
            await connection.execute(queries["take_out"], letter.id)
            await connection.execute(queries["book_letters"], letter.stream, stored, 1 - stored)
            if rehearse:
                raise _Rehearsed
    except _Rehearsed:
        pass
    return Outcome.STORED if stored else Outcome.REPEATED
