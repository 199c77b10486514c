"""Covers the sweep that counts rows: what is taken from a table by hand is found, and nothing else is.

What it costs: benchmarks. The columns that it compares with are test_columns.py.
"""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from management.db.pool import SoleConnection, connect
from management.ingest.batch import batch_of
from management.ingest.writer import Writer
from management.jobs import books, repository
from management.jobs.books import check_books
from shared.events import Event
from tests.ingest_builders import DAY_MS, NOW_MS, click, gap_read, postback, read_of, stranger
from tests.integration.books.ledger import line

A, B = b"a" * 16, b"b" * 16


@pytest.fixture
async def other(ingest_url: str) -> AsyncIterator[SoleConnection]:
    connection = await connect(ingest_url, application="test books")
    yield connection
    connection.terminate()


async def fill(writer: Writer) -> None:
    """Two streams: 30 clicks of three days, 5 postbacks, 4 strangers, 3 letters and a gap of 7 each."""
    for stream in (A, B):
        events: list[Event | bytes] = [click(at_ms=NOW_MS - day * DAY_MS) for day in range(3) for _ in range(10)]
        events += [postback() for _ in range(5)] + [stranger() for _ in range(4)] + [b"?"] * 3
        await writer.store(batch_of([read_of(events, stream=stream), gap_read(43, 49, stream=stream)]))


async def test_what_was_stored_and_is_there_is_balanced(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await fill(writer)
    checked = await check_books(connection)
    assert checked is not None
    assert checked.balanced
    assert checked.units == 5
    assert [alarm.partition(": ")[2] for alarm in checked.alarms] == [
        "7 records can be read nowhere: seqs 43 to 49 damaged"
    ] * 2
    found = await line(owner, A)
    assert (found["rows_found"], found["missing_rows"], found["missing_letters"], found["missing_lost"]) == (
        39,
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("table", "column", "sentence"),
    [
        ("clicks", "missing_rows", "1 stored row gone from the tables"),
        ("postbacks", "missing_rows", "1 stored row gone from the tables"),
        ("strangers", "missing_rows", "1 stored row gone from the tables"),
        ("dead_letters", "missing_letters", "1 dead letter gone from the tables"),
        ("lost_records", "missing_lost", "7 records declared lost gone from the tables"),
    ],
)
async def test_a_row_taken_from_a_table_is_missed(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection, table: str, column: str, sentence: str
) -> None:
    await fill(writer)
    assert (await check_books(connection)) is not None
    key = "first_seq" if table == "lost_records" else "seq"
    await owner.execute(
        f"DELETE FROM {table} WHERE stream = $1 AND {key} = (SELECT min({key}) FROM {table} WHERE stream = $1)", A
    )
    checked = await check_books(connection, full=True)
    assert checked is not None
    assert not checked.balanced
    assert f"Stream {A.hex()}: {sentence}" in checked.alarms
    assert not any(B.hex() in alarm and "gone" in alarm for alarm in checked.alarms)
    assert (await line(owner, A))[column] == (7 if table == "lost_records" else 1)


async def test_a_deletion_is_found_without_counting_everything(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "UNITS_IN_TURN", 0)
    await fill(writer)
    await check_books(connection)
    await until_quiet(connection, writer)
    quiet = await check_books(connection)
    assert quiet is not None
    assert quiet.units == 0, "nothing moved, so nothing was read"
    await owner.execute("DELETE FROM clicks WHERE stream = $1 AND seq = 15", A)
    await owner.execute("SELECT pg_stat_force_next_flush()")
    await until_moved(connection)
    checked = await check_books(connection)
    assert checked is not None
    assert not checked.balanced
    again = await check_books(connection)
    assert again is not None
    assert (again.balanced, again.units <= 1) == (False, True), "what is known to be missing costs nothing again"


async def test_a_day_whose_counters_stood_still_has_its_turn(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await fill(writer)
    await check_books(connection)
    await until_quiet(connection, writer)
    await owner.execute("DELETE FROM clicks WHERE stream = $1", A)
    await owner.execute("SELECT pg_stat_force_next_flush()")
    await until_moved(connection)
    # As if the server had never counted that: what a crash of it makes of its counters.
    units = {row["unit"]: row["changes"] for row in await owner.fetch(books.queries["units"])}
    for unit, changes in units.items():
        await owner.execute("UPDATE counted_units SET changes = $2 WHERE unit = $1", unit, changes)
    balanced = [checked.balanced for _ in range(3) if (checked := await check_books(connection)) is not None]
    assert balanced[-1] is False


async def test_late_clicks_of_other_days_are_missed_by_nobody(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "UNITS_IN_TURN", 0)
    await fill(writer)
    await check_books(connection)
    await until_quiet(connection, writer)
    for seq in range(50, 56):  # into days that are counted already, and no counter has moved yet
        late = click(at_ms=NOW_MS - (seq % 3) * DAY_MS)
        await writer.store(batch_of([read_of([late], stream=A, begins=seq)]))
        checked = await check_books(connection)
        assert checked is not None
        assert checked.balanced, checked.alarms


async def test_storing_meanwhile_is_no_difference(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    async def store() -> None:
        for begins in range(1, 400, 4):
            events: list[Event | bytes] = [click(at_ms=NOW_MS - begins % 5 * DAY_MS), postback(), stranger(), b"?"]
            await writer.store(batch_of([read_of(events, stream=A, begins=begins)]))

    storing = asyncio.create_task(store())
    while not storing.done():
        checked = await check_books(connection)
        assert checked is not None
        assert checked.balanced, checked.alarms
        await repository.forget_strangers(connection)
    await storing
    assert (await line(owner, A))["last_seq"] == 400


async def test_strangers_that_the_sweep_forgot_are_not_missed(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(writer)
    monkeypatch.setattr(repository, "STRANGER_ROWS", 3)
    await repository.forget_strangers(connection)
    assert await owner.fetchval("SELECT count(*) FROM strangers") == 3
    checked = await check_books(connection)
    assert checked is not None
    assert checked.balanced, checked.alarms
    await owner.execute("DELETE FROM strangers")
    checked = await check_books(connection, full=True)
    assert checked is not None
    assert not checked.balanced


async def test_a_day_that_is_dropped_is_missed_unless_it_is_booked_as_expired(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await fill(writer)
    await check_books(connection)
    day = await owner.fetchval("SELECT min(relname) FROM pg_class WHERE relname LIKE 'clicks\\_2%'")
    await owner.execute(f"DROP TABLE {day}")
    checked = await check_books(connection)
    assert checked is not None
    assert not checked.balanced
    assert (await line(owner, A))["missing_rows"] == 10
    await connection.execute("INSERT INTO stream_expirations VALUES ($1, 10), ($2, 10)", A, B)
    checked = await check_books(connection)
    assert checked is not None
    assert checked.balanced, checked.alarms


async def test_rows_from_before_the_books_are_taken_as_they_are_found_and_missed_afterwards(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await fill(writer)
    await owner.execute(
        "UPDATE stream_positions SET opening = stored - 5, stored = 5 WHERE stream = $1", A
    )  # as the migration finds it
    checked = await check_books(connection)
    assert checked is not None
    assert checked.balanced, checked.alarms
    await owner.execute("DELETE FROM clicks WHERE stream = $1 AND seq <= 2", A)
    checked = await check_books(connection, full=True)
    assert checked is not None
    assert not checked.balanced
    assert (await line(owner, A))["missing_rows"] == 2


async def test_rows_that_nobody_stored_are_a_difference_too(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await fill(writer)
    await owner.execute("UPDATE clicks SET stream = $1 WHERE stream = $2 AND seq = 3", A, B)
    checked = await check_books(connection, full=True)
    assert checked is not None
    assert f"Stream {A.hex()}: 1 stored row in the tables that nobody booked" in checked.alarms
    assert f"Stream {B.hex()}: 1 stored row gone from the tables" in checked.alarms


async def test_two_never_count_at_once(connection: SoleConnection, other: SoleConnection) -> None:
    assert await other.fetchval(books.queries["lock_books"])
    assert await check_books(connection) is None
    await other.execute(books.queries["unlock_books"])
    assert await check_books(connection) is not None


async def until_quiet(connection: SoleConnection, writer: Writer) -> None:
    """Until the server's counters have arrived in what was counted."""
    async with writer.turn() as busy:
        await busy.execute("SELECT pg_stat_force_next_flush()")
    async with asyncio.timeout(30):
        while await moved(connection):
            await asyncio.sleep(0.1)
            await check_books(connection)


async def until_moved(connection: SoleConnection) -> None:
    async with asyncio.timeout(30):
        while not await moved(connection):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def moved(connection: SoleConnection) -> bool:
    return any(row["changes"] != row["counted_changes"] for row in await connection.fetch(books.queries["units"]))
