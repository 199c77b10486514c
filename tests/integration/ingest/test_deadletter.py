"""Covers poison: what Postgres refuses is found among its neighbours, kept with bytes, origin and reason, and stops
nobody; what says nothing about a record buries none. What decode refuses by itself is tests/unit/ingest."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from management.db.lease import Lease
from management.db.pool import SoleConnection, connect
from management.ingest import deadletter
from management.ingest.batch import batch_of
from management.ingest.deadletter import DeadLetterFailed
from management.ingest.writer import INTERRUPTIONS, BatchRefused, Stored, Writer
from shared.events import Event
from tests.ingest_builders import click, gap_read, kind_of, payload, postback, read_of, stranger

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


@pytest.fixture
async def connection(ingest_url: str) -> AsyncIterator[SoleConnection]:
    connection = await connect(ingest_url, application="test ingest")
    yield connection
    connection.terminate()


@pytest.fixture
async def writer(connection: SoleConnection) -> Writer:
    return await Writer.open(connection, await Lease.take(connection, "ingest"))


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Also makes Postgres refuse four things that decode knows nothing of."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE clicks ADD CONSTRAINT no_poison CHECK (browser <> 'Poison')")
    await connection.execute("ALTER TABLE clicks ADD CHECK (10 / score <> 77)")  # division by zero at score 0
    await connection.execute("CREATE INDEX ON postbacks (query)")  # no index row is that long
    await connection.execute("ALTER TABLE strangers ADD CONSTRAINT no_stranger CHECK (path <> '/poison')")
    yield connection
    await connection.close()


def incompressible(length: int) -> str:
    return "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(length))


POISON: dict[str, tuple[Event, str]] = {
    "a violated check": (click(browser="Poison"), "no_poison"),
    "an arithmetic error": (click(score=0), "division by zero"),
    "a value too long for an index": (postback(query=incompressible(6000)), "index row"),
    "a stranger's": (stranger(path="/poison"), "no_stranger"),
}


@pytest.mark.parametrize(("poison", "reason"), POISON.values(), ids=POISON)
@pytest.mark.parametrize("place", [0, 6, 12])
async def test_poison_is_buried_alone(
    poison: Event, reason: str, place: int, writer: Writer, owner: asyncpg.Connection
) -> None:
    neighbours: list[Event | bytes] = [click(), postback(), stranger(), *(click() for _ in range(10))]
    neighbours.insert(place, poison)
    reads = [
        read_of([click(), click()], stream=A),
        read_of(neighbours, stream=B),
        read_of([click()], stream=C, begins=5),
    ]
    await owner.execute("INSERT INTO stream_positions (stream, next) VALUES ($1, 5)", C)
    assert await deadletter.store(writer, batch_of(reads)) == Stored(14, 1, 1, 1)
    letter = await owner.fetchrow("SELECT stream, seq, kind, payload, reason FROM dead_letters")
    assert letter is not None
    assert tuple(letter)[:4] == (B, place + 1, kind_of(poison), payload(poison))
    assert reason in letter["reason"]
    assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 14
    assert await writer.positions([A, B, C]) == {A: 3, B: 15, C: 6}


async def test_several_poisons_beside_broken_records_and_gaps(writer: Writer, owner: asyncpg.Connection) -> None:
    first: list[Event | bytes] = [click(browser="Poison"), b"broken", click(), click(browser="Poison")]
    reads = [read_of(first), gap_read(5, 9), read_of([click(browser="Poison"), click()], begins=10)]
    assert await deadletter.store(writer, batch_of(reads)) == Stored(2, 0, 4)
    letters = await owner.fetch("SELECT seq FROM dead_letters ORDER BY seq")
    assert [letter["seq"] for letter in letters] == [1, 2, 4, 10]
    assert await owner.fetchval("SELECT count(*) FROM lost_records") == 1
    assert await writer.positions([b"s" * 16]) == {b"s" * 16: 12}


async def test_a_dead_letter_that_cannot_be_stored_stops_the_line(writer: Writer, owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE dead_letters ADD CHECK (seq <> 2)")
    events: list[Event | bytes] = [click(), click(browser="Poison"), click()]
    with pytest.raises(DeadLetterFailed, match=r"seq 2"):
        await deadletter.store(writer, batch_of([read_of(events)]))
    # What stands before it is stored; it and all behind it are not passed over.
    assert await writer.positions([b"s" * 16]) == {b"s" * 16: 2}
    assert await owner.fetchval("SELECT count(*) FROM clicks") == 1
    with pytest.raises(DeadLetterFailed, match=r"seq 2"):
        await deadletter.store(writer, batch_of([read_of([b"broken"], begins=2)]))


async def test_a_cut_connection_buries_nothing(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await owner.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
    with pytest.raises(INTERRUPTIONS):
        await deadletter.store(writer, batch_of([read_of([click()])]))
    assert await owner.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_a_lock_that_is_not_given_buries_nothing(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await connection.execute("SET lock_timeout = '100ms'")
    async with owner.transaction():
        await owner.execute("LOCK TABLE click_deltas IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(INTERRUPTIONS, match="lock timeout"):
            await deadletter.store(writer, batch_of([read_of([click()])]))
    assert not issubclass(BatchRefused, INTERRUPTIONS)
    assert await owner.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert await deadletter.store(writer, batch_of([read_of([click()])])) == Stored(1, 0, 0)
