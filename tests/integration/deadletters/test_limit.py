"""Covers the limit that stops the line, on real `milepost ingest` processes: what passes, where exactly it stops, that
restarts bury nothing more, and the ways to go on. Its arithmetic alone is tests/unit/ingest/test_poison.py."""

import signal
from pathlib import Path

import asyncpg
import pytest

from management.db.lease import Lease
from management.db.pool import connect
from management.ingest import deadletter
from management.ingest.batch import batch_of
from management.ingest.deadletter import TooManyDeadLetters
from management.ingest.writer import Writer
from shared.events import Event
from tests.ingest_builders import click, read_of, write_stream
from tests.ingest_process import IngestProcess, Start, until_count
from tests.integration.deadletters.conftest import Milepost
from tests.integration.deadletters.poisoned import BROKEN, book, counted, mend, poison, poison_postgres

A, B = b"a" * 16, b"b" * 16


async def stopped(process: IngestProcess) -> str:
    """The one line in which the process said why it stopped the line."""
    assert await process.ended(60) == 1
    said = [line for line in process.lines() if line["event"] == "line_stopped"]
    assert [line["level"] for line in said] == ["critical"]
    text: str = said[0]["error"]
    return text


async def test_one_record_in_a_thousand_is_buried_and_all_others_are_stored(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    await poison_postgres(owner)
    events: list[Event | bytes] = [click() for _ in range(12_000)]
    for place in range(500, 12_000, 1000):
        events[place] = BROKEN if place % 2000 == 500 else poison()
    stream = await write_stream(data_dir / "journal", events)
    process = start()
    await until_count(owner, "clicks", 11_988)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert await counted(owner, "clicks", "click_deltas", "dead_letters") == (11_988, 11_988, 12)
    assert await book(owner, stream) == {"settled": 12_000, "stored": 11_988, "dead_lettered": 12}


@pytest.mark.parametrize("by", ["decode", "postgres"])
async def test_a_hundred_and_one_in_a_row_stop_the_line_until_the_operator_says_go_on(
    by: str, start: Start, data_dir: Path, owner: asyncpg.Connection, milepost: Milepost
) -> None:
    await poison_postgres(owner)
    dead: list[Event | bytes] = [BROKEN if by == "decode" else poison() for _ in range(150)]
    good: list[Event | bytes] = [click() for _ in range(50)]
    stream = await write_stream(data_dir / "journal", [*good, *dead, *(click() for _ in range(50))])
    for _ in range(3):  # the first life, and what a supervisor makes of it
        text = await stopped(start())
        assert f"stream {stream.hex()}, seq 151: " in text
        assert ("not JSON" if by == "decode" else "no_poison") in text
        assert "Failing row" not in text
        assert "milepost deadletters list" in text
        assert "milepost deadletters accept" in text
        assert await counted(owner, "clicks", "dead_letters") == (50, 100)
        assert await book(owner, stream) == {"settled": 150, "stored": 50, "dead_lettered": 100}
    assert "100 dead letters are accepted" in await milepost("deadletters", "accept")
    process = start()
    await until_count(owner, "clicks", 100)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert await counted(owner, "clicks", "dead_letters") == (100, 150)
    assert await book(owner, stream) == {"settled": 250, "stored": 100, "dead_lettered": 150}


async def test_exactly_a_hundred_in_a_row_pass(start: Start, data_dir: Path, owner: asyncpg.Connection) -> None:
    await write_stream(data_dir / "journal", [*([BROKEN] * 100), click()])
    process = start()
    await until_count(owner, "clicks", 1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert await counted(owner, "dead_letters") == (100,)


async def test_the_window_reaches_over_streams_and_lives_of_the_process(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    await write_stream(data_dir / "journal", [BROKEN if place % 2 == 0 else click() for place in range(120)])
    process = start()
    await until_count(owner, "clicks", 60)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    second = await write_stream(data_dir / "journal", [click() if place % 2 == 0 else BROKEN for place in range(120)])
    text = await stopped(start())
    assert "more than 100 of the last 10,000 records" in text
    assert f"stream {second.hex()}, seq 82: " in text  # its letter 41
    assert await counted(owner, "clicks", "dead_letters") == (101, 100)


async def test_more_can_be_allowed_beforehand(
    start: Start, data_dir: Path, owner: asyncpg.Connection, milepost: Milepost
) -> None:
    events: list[Event | bytes] = [*([BROKEN] * 700), click()]
    stream = await write_stream(data_dir / "journal", events)
    await stopped(start())
    assert "the next 450 will not count" in await milepost("deadletters", "accept", "--next", "450")
    text = await stopped(start())
    # 100 before, 450 that did not count, 100 that did.
    assert f"stream {stream.hex()}, seq 651: " in text
    assert await owner.fetchval("SELECT letters FROM dead_letter_allowance") == 0
    await milepost("deadletters", "accept")
    process = start()
    await until_count(owner, "clicks", 1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert await book(owner, stream) == {"settled": 701, "stored": 1, "dead_lettered": 700}


async def test_after_mending_and_redriving_the_line_goes_on_by_itself(
    start: Start, data_dir: Path, owner: asyncpg.Connection, milepost: Milepost
) -> None:
    await poison_postgres(owner)
    stream = await write_stream(data_dir / "journal", [poison() for _ in range(140)])
    await stopped(start())
    await mend(owner)
    assert "100 stored, 0 still cannot be stored" in await milepost("deadletters", "redrive", "--all")
    process = start()
    await until_count(owner, "clicks", 140)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert await counted(owner, "clicks", "click_deltas", "dead_letters") == (140, 140, 0)
    assert await book(owner, stream) == {"settled": 140, "stored": 140}


async def test_a_dead_letter_that_may_not_be_written_stops_the_line(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    await poison_postgres(owner)
    await owner.execute("REVOKE INSERT ON dead_letters FROM milepost_ingest")
    for dead in (poison(), BROKEN):
        stream = await write_stream(data_dir / "journal", [click(), dead, click()])
        process = start()
        assert f"stream {stream.hex()}, seq 2: permission denied" in await stopped(process)
        await owner.execute("DELETE FROM stream_positions")
        for folder in (data_dir / "journal").iterdir():
            folder.rename(data_dir / folder.name)
    assert await counted(owner, "dead_letters") == (0,)


async def test_a_run_of_one_stream_stops_it_however_much_others_store(
    ingest_url: str, owner: asyncpg.Connection
) -> None:
    connection = await connect(ingest_url, application="test ingest")
    try:
        writer = await Writer.open(connection, await Lease.take(connection, "ingest"))
        await deadletter.store(writer, batch_of([read_of([BROKEN] * 100, stream=A)]))
        others: list[Event | bytes] = [click() for _ in range(10_000)]
        await deadletter.store(writer, batch_of([read_of(others, stream=B)]))
        # The window holds none of them any more: without the stream's own run, another hundred would be buried.
        with pytest.raises(TooManyDeadLetters, match=r"in a row.*seq 101"):
            await deadletter.store(writer, batch_of([read_of([BROKEN], stream=A, begins=101)]))
        good: list[Event | bytes] = [click(), BROKEN]
        await owner.execute("DELETE FROM dead_letters WHERE seq = 100")
        await deadletter.store(writer, batch_of([read_of(good, stream=A, begins=101)]))
        assert await writer.positions([A, B]) == {A: 103, B: 10_001}
    finally:
        connection.terminate()
