"""Covers GET /api/v1/system/reconciliation and the metrics of the books: who sees them, their shape, page by page.

What the columns say is tests/integration/books.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from management.db.lease import Lease
from management.db.pool import INGEST_ROLE, connect, role_url
from management.ingest.batch import batch_of
from management.ingest.books import Announced
from management.ingest.writer import Writer
from management.jobs.books import check_books
from shared.ids import KeyRing
from tests.api_server import Api, caller
from tests.builders import Connection
from tests.ingest_builders import click, gap_read, read_of
from tests.ingest_builders import stranger as stranger_event

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/api/v1/system/reconciliation"
TERMS = {
    "last_seq", "opening", "stored", "repeated", "dead_lettered", "discarded", "lost", "parked", "in_journal",
    "difference", "missing_rows", "declared_losses",
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module")
async def writer(database_url: str, ring: KeyRing, owner_connection: Connection) -> AsyncIterator[Writer]:
    await owner_connection.execute(
        "TRUNCATE clicks, postbacks, strangers, dead_letters, lost_records, stream_positions, stream_announcements,"
        " book_checks, declared_losses, counted_units CASCADE"
    )
    connection = await connect(role_url(database_url, INGEST_ROLE, ring), application="test books")
    yield await Writer.open(connection, await Lease.take(connection, "ingest"))
    connection.terminate()


@pytest_asyncio.fixture(loop_scope="module")
async def installation(api: Api, server: Api, owner_connection: Connection, ring: KeyRing) -> Api:
    """The API, called by an owner of the account that was made first."""
    first = await owner_connection.fetchval("SELECT min(id) FROM accounts")
    return await caller(server, owner_connection, ring, of=first)


async def books(api: Api, **params: str) -> Any:
    answer = await api.get(PATH, **params)
    assert answer.status == 200, answer.raw
    return answer.data


async def test_nothing_stored_is_balanced(installation: Api, writer: Writer) -> None:
    found = await books(installation)
    assert (found["balanced"], found["alarms"], found["streams"]) == (True, [], [])
    assert found["totals"] == dict.fromkeys(TERMS, 0) | {"discarded": {}, "streams": 0}


async def test_each_term_of_each_stream_newest_first_and_the_totals(
    installation: Api, writer: Writer, owner_connection: Connection
) -> None:
    twice = click()
    old, new = b"o" * 16, b"n" * 16
    await writer.store(batch_of([read_of([twice, stranger_event(), b"?"], stream=old), gap_read(4, 8, stream=old)]))
    await writer.store_losses({old: 11})
    await owner_connection.execute("UPDATE stream_positions SET begun_at = now() - interval '1 day'")
    await writer.store(batch_of([read_of([click(), twice], stream=new)]))
    await writer.store_announced({new: Announced(9, False, 3), old: Announced(8, True)})
    await owner_connection.execute(
        "UPDATE stream_positions SET dead_lettered = 0, discarded = 1 WHERE stream = $1", old
    )
    await owner_connection.execute("INSERT INTO stream_discards VALUES ($1, 'account deleted', 1)", old)
    await owner_connection.execute("DELETE FROM dead_letters")
    found = await books(installation)
    assert found["balanced"] is True
    assert [stream["stream"] for stream in found["streams"]] == [new.hex(), old.hex()]
    young, aged = found["streams"]
    assert {name: young[name] for name in ("last_seq", "stored", "repeated", "parked", "in_journal", "difference")} == {
        "last_seq": 9, "stored": 1, "repeated": 1, "parked": 3, "in_journal": 4, "difference": 0,
    }  # fmt: skip
    assert (young["finished"], young["missing_rows"], young["checked_at"], young["lost_ranges"]) == (
        False,
        None,
        None,
        [],
    )
    assert aged["discarded"] == {"account deleted": 1}
    assert aged["lost_ranges"] == [{"first": 4, "last": 8, "reason": "damaged"}]
    assert (aged["lost"], aged["declared_losses"], aged["finished"]) == (5, 11, True)
    assert aged["announced_at"].endswith("Z")
    totals = found["totals"]
    assert (totals["streams"], totals["last_seq"], totals["stored"], totals["lost"]) == (2, 17, 3, 5)
    assert totals["discarded"] == {"account deleted": 1}
    (alarm,) = found["alarms"]
    assert alarm == f"Stream {old.hex()}: 5 records can be read nowhere: seqs 4 to 8 damaged"


async def test_a_difference_and_missing_rows_are_not_balanced(
    installation: Api, writer: Writer, owner_connection: Connection, database_url: str, ring: KeyRing
) -> None:
    one, two = b"1" * 16, b"2" * 16
    for stream in (one, two):
        await writer.store(batch_of([read_of([click(), click(), click()], stream=stream)]))
    await owner_connection.execute("UPDATE stream_positions SET stored = stored - 2 WHERE stream = $1", one)
    await owner_connection.execute("UPDATE stream_positions SET stored = stored + 2 WHERE stream = $1", two)
    found = await books(installation)
    assert found["balanced"] is False, "one difference does not hide another"
    assert found["totals"]["difference"] == 0
    assert sorted(found["alarms"]) == [
        f"Stream {one.hex()}: 2 records of 3 in no column",
        f"Stream {two.hex()}: 2 records of 3 booked twice",
    ]
    await owner_connection.execute("UPDATE stream_positions SET stored = 3")
    assert (await books(installation))["balanced"] is True
    await owner_connection.execute("DELETE FROM clicks WHERE stream = $1 AND seq = 3", one)
    connection = await connect(role_url(database_url, INGEST_ROLE, ring), application="test books")
    checked = await check_books(connection, full=True)
    connection.terminate()
    assert checked is not None
    found = await books(installation)
    assert found["balanced"] is False
    assert found["alarms"] == checked.alarms == [f"Stream {one.hex()}: 1 stored row gone from the tables"]
    metrics = (await installation.anonymous().call("GET", "/metrics")).raw.decode()
    assert "milepost_books_difference 0.0" in metrics
    assert "milepost_books_missing_rows 1.0" in metrics


async def test_records_that_wait_for_long_raise_an_alarm_but_are_in_their_column(
    installation: Api, writer: Writer, owner_connection: Connection
) -> None:
    stream = b"w" * 16
    await writer.store_announced({stream: Announced(4, False)})
    assert (await books(installation))["alarms"] == []
    await owner_connection.execute("UPDATE stream_announcements SET announced_at = '2026-01-05T10:00:00Z'")
    found = await books(installation)
    assert found["balanced"] is True
    assert found["alarms"] == [
        f"Stream {stream.hex()}: 4 records not fetched from its journal since 2026-01-05T10:00:00Z"
    ]


async def test_pages_by_cursor_give_each_stream_once(installation: Api, writer: Writer) -> None:
    reads = [read_of([click()], stream=bytes([number]) * 16) for number in range(1, 8)]
    for part in (reads[:3], reads[3:]):
        await writer.store(batch_of(part))
    seen: list[str] = []
    cursor: str | None = None
    for wanted in (3, 3, 1):
        answer = await installation.get(PATH, limit="3", **({"cursor": cursor} if cursor else {}))
        assert answer.data["totals"]["streams"] == answer.body["meta"]["total"] == 7
        assert len(answer.data["streams"]) == wanted
        seen += [stream["stream"] for stream in answer.data["streams"]]
        cursor = answer.body["meta"]["next_cursor"]
    assert cursor is None
    assert sorted(seen) == [(bytes([number]) * 16).hex() for number in range(1, 8)]


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1"])
async def test_a_limit_out_of_bounds_is_refused(installation: Api, writer: Writer, limit: str) -> None:
    answer = await installation.get(PATH, limit=limit)
    assert (answer.status, answer.error["code"]) == (400, "VALIDATION_ERROR")


async def test_more_alarms_than_a_hundred_are_said_to_be_there(installation: Api, writer: Writer) -> None:
    streams = [number.to_bytes(16, "big") for number in range(1, 104)]
    await writer.store(batch_of([gap_read(1, 2, stream=stream) for stream in streams]))
    found = await books(installation, limit="1000")
    assert len(found["streams"]) == 103
    assert len(found["alarms"]) == 101
    assert found["alarms"][-1].startswith("There are more")


async def test_only_the_installation_s_own_account_sees_them(
    installation: Api, api: Api, stranger: Api, server: Api, owner_connection: Connection, ring: KeyRing
) -> None:
    for other in (api, stranger):
        if other.account_id == installation.account_id:
            continue
        answer = await other.get(PATH)
        assert (answer.status, answer.error["code"]) == (403, "AUTHORIZATION_ERROR")
    for role, status in (("admin", 200), ("manager", 403), ("analyst", 403)):
        user = await caller(server, owner_connection, ring, role=role, of=installation.account_id)
        assert (await user.get(PATH)).status == status
    assert (await server.get(PATH)).status == 401


async def test_another_account_gets_no_row_even_past_the_route(
    installation: Api, stranger: Api, writer: Writer, owner_connection: Connection
) -> None:
    await writer.store(batch_of([read_of([click()])]))
    for account, rows in ((installation.account_id, 1), (stranger.account_id, 0), ("", 0)):
        async with owner_connection.transaction():
            await owner_connection.execute("SET LOCAL ROLE milepost_app")
            await owner_connection.execute("SELECT set_config('milepost.account', $1, true)", str(account))
            assert await owner_connection.fetchval("SELECT count(*) FROM installation_books") == rows
            for table in ("books", "stream_positions", "stream_announcements", "book_checks", "counted_rows"):
                with pytest.raises(Exception, match="permission denied"):
                    async with owner_connection.transaction():
                        await owner_connection.fetch(f"SELECT * FROM {table}")
