"""What the tests of the books share: one line as the view gives it, and storing what a journal holds."""

from pathlib import Path
from typing import Any

import asyncpg

from management.db.pool import SoleConnection
from management.ingest import deadletter
from management.ingest.batch import batch_of
from management.ingest.sources.journal import JournalSource
from management.ingest.writer import Writer
from shared.journal import NO_LIMITS


async def line(owner: asyncpg.Connection, stream: bytes) -> dict[str, Any]:
    row = await owner.fetchrow("SELECT * FROM books WHERE stream = $1", stream)
    assert row is not None, "no line for this stream"
    return dict(row)


async def terms(owner: asyncpg.Connection, stream: bytes) -> dict[str, int]:
    """The terms that are not 0, and `last_seq`; fails where they do not add up."""
    found = await line(owner, stream)
    names = (
        "opening",
        "stored",
        "repeated",
        "dead_lettered",
        "discarded",
        "lost",
        "parked",
        "in_journal",
        "difference",
    )
    assert sum(found[name] for name in names) == found["last_seq"]
    return {name: found[name] for name in (*names, "last_seq") if found[name]}


async def difference(connection: SoleConnection) -> int:
    """Of all streams, and that every position is the sum of its columns."""
    rows = await connection.fetch("SELECT * FROM stream_positions")
    for row in rows:
        booked = sum(row[name] for name in ("opening", "stored", "repeated", "dead_lettered", "discarded", "lost"))
        assert booked == row["next"] - 1, dict(row)
    found: int = await connection.fetchval("SELECT coalesce(sum(abs(difference)), 0)::bigint FROM books")
    return found


def source_of(root: Path, writer: Writer, *, keep_seconds: float = 3600.0, records: int = 10_000) -> JournalSource:
    return JournalSource(
        root,
        keep_seconds,
        writer.positions,
        limits=NO_LIMITS,
        store_losses=writer.store_losses,
        store_announced=writer.store_announced,
        records=records,
    )


async def store_round(source: JournalSource, writer: Writer) -> bool:
    """Store what one read finds; whether it found anything."""
    found = await source.read()
    batch = batch_of(found.reads)
    if not batch.is_empty:
        await deadletter.store(writer, batch)
        await source.committed(batch.positions)
    return bool(found.reads)
