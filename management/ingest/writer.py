"""One batch is one transaction: everything of it is stored, and its streams' positions moved, or nothing.

What each step may wait for: COPY for this process's own bytes, so it comes first, while no lease and no position is
locked; the lease and the positions for another ingest; the rest for nobody.

Clicks are copied straight into their day, which takes half the time of a temporary table and INSERT. That holds for
clicks that are new, so for nearly all: when one is there already, the batch is stored again the other way, which
passes over repeats.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from io import BytesIO
from typing import Final, NamedTuple, Protocol

import asyncpg

from management.db.pool import UNREACHABLE, SoleConnection
from management.db.queries import Queries
from management.ingest.batch import Batch, DeadLetter, Lost, Move
from management.ingest.books import Announced, Correction, Entry, corrections, entries
from management.ingest.decode import CLICK_COLUMNS, DELTA_COLUMNS, POSTBACK_COLUMNS, STRANGER_COLUMNS, ClickRow

queries = Queries("management.ingest", "writer.sql")

INTERRUPTIONS: Final = (*UNREACHABLE, asyncpg.PostgresError)
"""What says nothing about the records: try again on a new connection from the stored positions."""
REFUSALS: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""What says that a value cannot be stored."""
DENIAL: Final = asyncpg.InsufficientPrivilegeError
"""What no second attempt changes: the role may not write there."""
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER: Final = b"\xff\xff"
_EPOCH: Final = date(1970, 1, 1)
_TEMPORARY_BUFFERS: Final = "32MB"  # a batch in memory, where the default of 8 MB would write files


class BatchRefused(Exception):
    """Postgres refused a value in the batch; nothing of it is stored. The text is Postgres' own."""


class PositionMoved(Exception):
    """A stream stands elsewhere than this process believed; nothing was stored. Begin again from the stored one."""


class _DayTakenOut(Exception):
    """A day's table is there, but no part of the clicks."""


class Stored(NamedTuple):
    """How many rows were new, and how many records became dead letters. What else was offered was there already."""

    clicks: int
    postbacks: int
    buried: int
    strangers: int = 0


class Right(Protocol):
    """The right to write: a lease (management.db.lease), or several. Both raise LeaseLost."""

    async def check(self, connection: SoleConnection) -> None:
        """Inside a transaction: from here to its end nobody else has the right."""

    async def beat(self, connection: SoleConnection) -> None:
        """A sign of life when there is nothing to write."""


class Writer:
    """Stores batches on one connection, which is its own, under its lease or leases."""

    def __init__(self, connection: SoleConnection, lease: Right) -> None:
        self._connection = connection
        self._lease = lease
        self._days: set[int] = set()
        self._repeating = False
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, connection: SoleConnection, lease: Right) -> "Writer":
        """A writer with its session's temporary tables made."""
        await connection.execute(f"SET temp_buffers = '{_TEMPORARY_BUFFERS}'")
        await connection.execute(queries["make_incoming"])
        return cls(connection, lease)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[SoleConnection]:
        """The connection, between two batches."""
        async with self._turn:
            yield self._connection

    async def positions(self, streams: Sequence[bytes]) -> dict[bytes, int]:
        """Stream → first seq not stored yet; streams without a position are left out."""
        async with self._turn:
            rows = await self._connection.fetch(queries["positions"], streams)
        return {row["stream"]: row["next"] for row in rows}

    async def store_losses(self, losses: Mapping[bytes, int]) -> None:
        """Stream → how many clicks its writer declared lost in all. A smaller count than is stored changes nothing."""
        async with self._turn:
            await self._connection.execute(queries["store_losses"], list(losses), list(losses.values()))

    async def store_announced(self, said: Mapping[bytes, Announced]) -> None:
        """What writers say of their streams, for the books. What is stored already costs no write. Say `finished` only
        when everything that the stream left is stored: what it announced beyond that counts as a difference then."""
        if not said:
            return
        async with self._turn:
            await self._connection.execute(queries["store_announced"], list(said), *zip(*said.values(), strict=True))

    async def store_unreadable(self, letters: Sequence[DeadLetter]) -> None:
        """Letters that belong to no stream, so to no batch. Raises BatchRefused or one of INTERRUPTIONS."""
        async with self._turn:
            try:
                await self._store_dead(letters)
            except REFUSALS as error:
                raise BatchRefused(str(error)) from error

    async def beat(self) -> None:
        """A sign of life for the lease's sake; raises LeaseLost."""
        async with self._turn:
            await self._lease.beat(self._connection)

    async def store(self, batch: Batch) -> Stored:
        """Store the batch. Raises BatchRefused, PositionMoved, LeaseLost or one of INTERRUPTIONS; then nothing is."""
        async with self._turn:
            try:
                await self._make_days(batch.days - self._days)
                return await self._transact_either_way(batch)
            except asyncpg.CheckViolationError as error:
                if not _is_missing_day(error):
                    raise BatchRefused(str(error)) from error
            except REFUSALS as error:
                raise BatchRefused(str(error)) from error
            try:
                # A day that was known is gone again.
                self._days.clear()
                await self._make_days(batch.days)
                return await self._transact(batch, all_new=False)
            except REFUSALS as error:
                raise BatchRefused(str(error)) from error

    async def _make_days(self, days: Iterable[int]) -> None:
        for day in sorted(days):
            await self._connection.execute(queries["ensure_click_day"], _EPOCH + timedelta(days=day))
            self._days.add(day)

    async def _transact_either_way(self, batch: Batch) -> Stored:
        if not self._repeating:
            try:
                return await self._transact(batch, all_new=True)
            except (asyncpg.UniqueViolationError, asyncpg.UndefinedTableError, _DayTakenOut):
                self._repeating = True
        stored = await self._transact(batch, all_new=False)
        self._repeating = stored.clicks < len(batch.clicks)
        return stored

    async def _transact(self, batch: Batch, *, all_new: bool) -> Stored:
        """`all_new`: raises UniqueViolationError when one of the clicks is there, and nothing is stored."""
        async with self._connection.transaction():
            if batch.clicks and all_new:
                await self._copy_days(batch.clicks)
                await self._copy("incoming_deltas", DELTA_COLUMNS, (click.delta for click in batch.clicks))
            elif batch.clicks:
                await self._copy("incoming_clicks", CLICK_COLUMNS, (click.row for click in batch.clicks))
            if batch.postbacks:
                await self._copy("incoming_postbacks", POSTBACK_COLUMNS, (postback.row for postback in batch.postbacks))
            if batch.strangers:
                await self._copy("incoming_strangers", STRANGER_COLUMNS, (stranger.row for stranger in batch.strangers))
            await self._lease.check(self._connection)
            booked = entries(batch.moves.values(), batch.dead, batch.lost)
            await self._move(batch.moves.values(), booked)
            clicks = batch.clicks_of
            if batch.clicks and all_new:
                await self._connection.execute(queries["store_deltas"])
            elif batch.clicks:
                clicks = await self._insert("store_clicks")
            postbacks = await self._insert("store_postbacks") if batch.postbacks else Counter()
            strangers = await self._insert("store_strangers") if batch.strangers else Counter()
            letters = await self._store_dead(batch.dead)
            await self._store_lost(batch.lost)
            await self._correct(corrections(booked, clicks + postbacks + strangers, letters))
        return Stored(clicks.total(), postbacks.total(), len(batch.dead), strangers.total())

    async def _copy_days(self, clicks: Sequence[ClickRow]) -> None:
        """Each day's clicks into its table. Nobody takes a day out from here to the end of the transaction."""
        days: dict[int, list[bytes]] = {}
        for click in clicks:
            days.setdefault(click.day, []).append(click.row)
        tables = {day: f"clicks_{_EPOCH + timedelta(days=day):%Y%m%d}" for day in days}
        for day, rows in days.items():
            await copy_rows(self._connection, tables[day], CLICK_COLUMNS, rows, schema="public")
        if await self._connection.fetchval(queries["attached_days"], list(tables.values())) != len(tables):
            raise _DayTakenOut

    async def _insert(self, statement: str, *arguments: Sequence[object]) -> Counter[bytes]:
        """Stream → how many rows were new."""
        rows = await self._connection.fetch(queries[statement], *arguments)
        return Counter({row["stream"]: row["rows"] for row in rows})

    async def _copy(self, table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
        await copy_rows(self._connection, table, columns, rows)

    async def _move(self, moves: Iterable[Move], booked: Iterable[Entry]) -> None:
        streams, expected, following, known = zip(*moves, strict=True)
        _, stored, dead, lost = zip(*booked, strict=True)
        rows = await self._connection.fetch(
            queries["move_positions"], streams, expected, following, known, stored, dead, lost
        )
        missing = set(streams) - {row["stream"] for row in rows}
        if missing:
            raise PositionMoved("not where it was left: stream " + ", ".join(sorted(s.hex() for s in missing)))

    async def _correct(self, found: Sequence[Correction]) -> None:
        if found:
            await self._connection.execute(queries["correct_books"], *zip(*found, strict=True))

    async def _store_dead(self, letters: Sequence[DeadLetter]) -> Counter[bytes]:
        return await self._insert("store_dead_letters", *zip(*letters, strict=True)) if letters else Counter()

    async def _store_lost(self, lost: Sequence[Lost]) -> None:
        if lost:
            rows = [(stream, gap.first, gap.last, gap.reason) for stream, gap in lost]
            await self._connection.execute(queries["store_lost"], *zip(*rows, strict=True))


async def copy_rows(
    connection: SoleConnection, table: str, columns: Sequence[str], rows: Iterable[bytes], *, schema: str = "pg_temp"
) -> None:
    """Copy rows as `decode` packs them, into one of the session's own tables where no other schema is named."""
    source = BytesIO(b"".join((_COPY_HEADER, *rows, _COPY_TRAILER)))
    await connection.copy_to_table(table, source=source, columns=columns, format="binary", schema_name=schema)


def _is_missing_day(error: asyncpg.CheckViolationError) -> bool:
    # A row without a partition is reported as a violated check, but of no constraint.
    return error.constraint_name is None
