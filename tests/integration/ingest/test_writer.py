"""Covers one batch in Postgres: every column arrives, effects come once, positions move with the rows or not at all,
days are made. Whole processes and their deaths are test_process.py; poison is test_deadletter.py."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import orjson
import pytest

from management.db.lease import Lease, LeaseLost
from management.db.pool import SoleConnection, connect
from management.ingest.batch import batch_of
from management.ingest.writer import INTERRUPTIONS, BatchRefused, PositionMoved, Stored, Writer
from shared.events import Event
from shared.ids import click_id_bytes
from tests.ingest_builders import DAY_MS, NOW_MS, click, gap_read, postback, read_of, stranger

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_TABLE = f"clicks_{EPOCH + timedelta(milliseconds=NOW_MS):%Y%m%d}"


def moment(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


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
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def until_waiting(owner: asyncpg.Connection, backend: int) -> None:
    """Until the backend waits for a lock."""
    async with asyncio.timeout(10):
        while not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", backend):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def counts(owner: asyncpg.Connection) -> dict[str, int]:
    tables = (
        "clicks", "click_deltas", "postbacks", "postback_deltas", "strangers", "dead_letters", "lost_records",
    )  # fmt: skip
    return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def test_every_field_of_a_click_arrives(writer: Writer, owner: asyncpg.Connection) -> None:
    event = click(ts=NOW_MS + 1234, cost=2**62, asn=4_294_967_295, ip="2001:db8::", device="", mode=1)
    event["details"] = {"Größe": "ü\u2028😀", "reasons": [["NO_GEO", 5]], "n": 1.5, "none": None}
    await writer.store(batch_of([read_of([event], stream=A, begins=1)]))
    row = await owner.fetchrow("SELECT * FROM clicks")
    keys = {name: base64.b64decode(event[name]) for name in ("visitor", "visitor_prev", "address", "address_prev")}
    assert row is not None
    stored = dict(row)
    assert orjson.loads(stored.pop("details")) == event["details"]
    assert stored == {
        "account_id": 3, "campaign_id": 7, "click_id": click_id_bytes(event["id"]), "ts": moment(NOW_MS),
        "reported_at": moment(NOW_MS + 1234), "mode": 1, "outcome": 1, "class": 1, "fraud": 0, "flags": 4, "score": 10,
        "rules": 1, "cost": 2**62, "cost_from": 0, "asn": 4_294_967_295, "country": "DE", "device": "", "os": "iOS",
        "browser": "Safari", "ip": "2001:db8::", "visitor_key": keys["visitor"],
        "visitor_key_prev": keys["visitor_prev"], "address_key": keys["address"],
        "address_key_prev": keys["address_prev"], "stream": A, "seq": 1,
    }  # fmt: skip
    delta = await owner.fetchrow("SELECT * FROM click_deltas")
    assert delta is not None
    assert {name: value for name, value in delta.items() if name != "id"} == {
        name: stored[name] for name in delta.keys() if name != "id"  # noqa: SIM118  (a Record is no mapping)
    }  # fmt: skip


async def test_every_field_of_a_postback_arrives(writer: Writer, owner: asyncpg.Connection) -> None:
    event = postback(time=NOW_MS - 5000, default_payout="0.000001", trusted=True, event="lead", reason=40)
    await writer.store(batch_of([read_of([event], stream=B)]))
    row = await owner.fetchrow("SELECT * FROM postbacks")
    assert row is not None
    assert dict(row) == {
        "account_id": 3, "campaign_id": 7, "id": bytes.fromhex(event["id"]), "ts": moment(NOW_MS),
        "click_id": click_id_bytes(event["click_id"]), "conversion_id": bytes.fromhex(event["conversion_id"][5:]),
        "event": "lead", "transaction_id": "T-1", "status": "approved", "payout": Decimal("12.500000"),
        "default_payout": Decimal("0.000001"), "currency": "EUR", "event_time": moment(NOW_MS - 5000), "reason": 40,
        "http_status": 200, "security": "open", "trusted": True, "duplicate_mode": "ignore", "cost_model": "cpa",
        "cost_value": Decimal("3.250000"), "source_ip": "198.51.100.7", "method": "GET", "query": "clickid=x",
        "origin": "postback", "stream": B, "seq": 1, "decided_reason": None,
    }  # fmt: skip
    delta = await owner.fetchrow(
        "SELECT account_id, campaign_id, postback_id, conversion_id, click_id FROM postback_deltas"
    )
    assert delta is not None
    assert tuple(delta) == (3, 7, row["id"], row["conversion_id"], row["click_id"])


async def test_every_field_of_a_strangers_request_arrives(writer: Writer, owner: asyncpg.Connection) -> None:
    event = stranger(path="/c/ü", query="a=%20", referrer="https://news.example/", user_agent="", ip="")
    await writer.store(batch_of([read_of([click(), event], stream=B)]))
    row = await owner.fetchrow("SELECT * FROM strangers")
    assert row is not None
    stored = dict(row)
    assert abs(stored.pop("stored_at") - datetime.now(UTC)) < timedelta(minutes=5)
    assert stored == {
        "number": 1, "id": bytes.fromhex(event["id"]), "ts": moment(NOW_MS), "reason": 70, "method": "GET",
        "path": "/c/ü", "query": "a=%20", "ip": "", "user_agent": "", "referrer": "https://news.example/",
        "stream": B, "seq": 2,
    }  # fmt: skip


async def test_a_strangers_request_has_no_effect_on_any_figure(writer: Writer, owner: asyncpg.Connection) -> None:
    assert await writer.store(batch_of([read_of([stranger(), stranger(reason=11)])])) == Stored(0, 0, 0, 2)
    found = await counts(owner)
    assert found.pop("strangers") == 2
    assert set(found.values()) == {0}
    assert await writer.positions([b"s" * 16]) == {b"s" * 16: 3}


async def test_nothing_of_a_postback_may_be_given(writer: Writer, owner: asyncpg.Connection) -> None:
    bare = postback(payout=None, default_payout=None, time=None, cost_model=None, cost_value=None)
    await writer.store(batch_of([read_of([bare])]))
    row = await owner.fetchrow("SELECT payout, default_payout, event_time, cost_model, cost_value FROM postbacks")
    assert row is not None
    assert set(row.values()) == {None}


async def test_only_clicks_that_count_have_a_delta(writer: Writer, owner: asyncpg.Connection) -> None:
    modes = [click(mode=mode) for mode in (1, 2, 3, 1)]
    await writer.store(batch_of([read_of(modes)]))
    found = await counts(owner)
    assert (found["clicks"], found["click_deltas"]) == (4, 2)


async def test_only_postbacks_that_count_have_a_delta(writer: Writer, owner: asyncpg.Connection) -> None:
    calls = [postback(reason=reason) for reason in (0, 13, 20, 30, 33, 34, 40, 41)]
    await writer.store(batch_of([read_of(calls)]))
    found = await counts(owner)
    assert (found["postbacks"], found["postback_deltas"]) == (8, 3)


async def test_the_same_events_in_another_stream_have_no_second_effect(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    events: list[Event | bytes] = [click(), click(), postback(), stranger()]
    assert await writer.store(batch_of([read_of(events, stream=A)])) == Stored(2, 1, 0, 1)
    before = await counts(owner)
    assert await writer.store(batch_of([read_of(events, stream=B)])) == Stored(0, 0, 0)
    assert await counts(owner) == before
    # Twice in one batch, too.
    twice, unknown = click(), stranger()
    again = read_of([twice, unknown, twice, unknown], stream=b"c" * 16)
    assert await writer.store(batch_of([again])) == Stored(1, 0, 0, 1)
    assert (await counts(owner))["click_deltas"] == 3


async def test_a_batch_stored_already_is_refused_whole(writer: Writer, owner: asyncpg.Connection) -> None:
    batch = batch_of([read_of([click(), b"broken"], stream=A)])
    await writer.store(batch)
    before = await counts(owner)
    with pytest.raises(PositionMoved, match=A.hex()):
        await writer.store(batch)
    with pytest.raises(PositionMoved, match=A.hex()):  # overlapping its end, with something new behind
        await writer.store(batch_of([read_of([click(), click()], stream=A, begins=2)]))
    assert await counts(owner) == before
    assert await writer.positions([A]) == {A: 3}


async def test_one_stream_that_moved_undoes_the_whole_batch(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store(batch_of([read_of([click()], stream=A)]))
    with pytest.raises(PositionMoved):
        await writer.store(batch_of([read_of([click()], stream=B), read_of([click()], stream=A, begins=9)]))
    assert await writer.positions([A, B]) == {A: 2}
    assert (await counts(owner))["clicks"] == 1


async def test_dead_letters_and_gaps_are_kept_and_passed(writer: Writer, owner: asyncpg.Connection) -> None:
    reads = [read_of([b"\x00\xff broken"]), gap_read(2, 40), read_of([click()], begins=41)]
    assert await writer.store(batch_of(reads)) == Stored(1, 0, 1)
    letter = await owner.fetchrow("SELECT stream, seq, kind, payload, reason FROM dead_letters")
    assert letter is not None
    assert tuple(letter)[:4] == (b"s" * 16, 1, 1, b"\x00\xff broken")
    assert "not JSON" in letter["reason"]
    lost = await owner.fetchrow("SELECT stream, first_seq, last_seq, reason FROM lost_records")
    assert lost is not None
    assert tuple(lost) == (b"s" * 16, 2, 40, "damaged")
    assert await writer.positions([b"s" * 16]) == {b"s" * 16: 42}


async def test_days_far_apart_in_one_batch(writer: Writer, owner: asyncpg.Connection) -> None:
    days = [0, DAY_MS - 1, DAY_MS, NOW_MS, NOW_MS + 400 * DAY_MS, 253_370_764_799_999]
    events = [click(at_ms=day, ts=NOW_MS) for day in days]
    assert (await writer.store(batch_of([read_of(events)]))).clicks == 6
    rows = await owner.fetch("SELECT tableoid::regclass::text AS day FROM clicks ORDER BY ts")
    assert [row["day"] for row in rows] == [
        "clicks_19700101", "clicks_19700101", "clicks_19700102", "clicks_20261118", "clicks_20271223", "clicks_99981231",
    ]  # fmt: skip


async def test_a_day_that_was_dropped_is_made_again(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store(batch_of([read_of([click()])]))
    await owner.execute("DROP TABLE clicks_20261118, click_labels_20261118")
    await writer.store(batch_of([read_of([click()], begins=2)]))
    assert (await counts(owner))["clicks"] == 1


async def test_a_lost_lease_undoes_the_batch(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    # The epoch alone, without the end of the backend: what a holder meets that could not be ended.
    await owner.execute("UPDATE leases SET epoch = epoch + 1")
    with pytest.raises(LeaseLost):
        await writer.store(batch_of([read_of([click(), postback(), stranger(), b"broken"]), gap_read(5, 6)]))
    assert set((await counts(owner)).values()) == {0}
    assert await owner.fetchval("SELECT count(*) FROM stream_positions") == 0


@pytest.mark.parametrize("table", ["leases", "stream_positions", "postbacks", "strangers"])
async def test_a_backend_ended_in_mid_transaction_leaves_nothing(
    table: str, writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await writer.store(batch_of([read_of([click()])]))
    before = await counts(owner)
    async with owner.transaction():
        # The batch gets as far as this table, and waits there until it is ended.
        await owner.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        batch = batch_of([read_of([click(), postback(), stranger()], begins=2)])
        storing = asyncio.create_task(writer.store(batch))
        await until_waiting(owner, connection.get_server_pid())
        await owner.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        with pytest.raises(INTERRUPTIONS):
            await storing
    assert await counts(owner) == before
    assert await owner.fetchval("SELECT next FROM stream_positions") == 2


async def test_no_lease_and_no_position_is_locked_before_the_last_byte_is_there(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()
    copy = writer._copy

    async def slow_copy(*arguments: object) -> None:
        await copy(*arguments)  # type: ignore[arg-type]
        waiting.set()
        await go_on.wait()

    monkeypatch.setattr(writer, "_copy", slow_copy)
    storing = asyncio.create_task(writer.store(batch_of([read_of([click()])])))
    await waiting.wait()
    held = await owner.fetch(
        "SELECT c.relname::text, mode FROM pg_locks JOIN pg_class AS c ON c.oid = relation"
        " WHERE pid = $1 AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')",
        connection.get_server_pid(),
    )
    go_on.set()
    await storing
    # What a row that is copied takes: it stands in nobody's way but his who changes the table itself.
    assert {tuple(row) for row in held} <= {("clicks", "AccessShareLock"), (DAY_TABLE, "RowExclusiveLock")}


async def test_a_delta_is_the_same_whether_its_click_was_copied_or_inserted(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    first, second = click(cost=5, cost_from=3, fraud=2, outcome=4, flags=9), click()
    deltas = "SELECT to_jsonb(click_deltas) - 'id' FROM click_deltas ORDER BY click_id"
    assert await writer.store(batch_of([read_of([first, second])])) == Stored(2, 0, 0)
    copied = [row[0] for row in await owner.fetch(deltas)]
    await owner.execute("TRUNCATE clicks, click_deltas")
    await writer.store(batch_of([read_of([third := click()], stream=B)]))
    # The one that is there sends all the others the other way.
    assert await writer.store(batch_of([read_of([third, first, second], stream=C)])) == Stored(2, 0, 0)
    await owner.execute("DELETE FROM click_deltas WHERE click_id = $1", click_id_bytes(third["id"]))
    assert [row[0] for row in await owner.fetch(deltas)] == copied


async def test_of_a_batch_that_is_there_in_part_only_the_rest_has_an_effect(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    clicks = [click() for _ in range(6)]
    await writer.store(batch_of([read_of(clicks[:3])]))
    assert await writer.store(batch_of([read_of(clicks, stream=B)])) == Stored(3, 0, 0)
    assert await writer.store(batch_of([read_of([*clicks, twin := click(), twin], stream=C)])) == Stored(1, 0, 0)
    assert await counts(owner) | {"clicks": 7, "click_deltas": 7} == await counts(owner)
    rows = await owner.fetch("SELECT stream, stored, repeated FROM stream_positions ORDER BY stream")
    assert [tuple(row) for row in rows] == [(B, 3, 3), (C, 1, 7), (b"s" * 16, 3, 0)]


async def test_nothing_is_copied_into_a_day_that_was_taken_out(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store(batch_of([read_of([click()])]))
    await owner.execute(f"ALTER TABLE clicks DETACH PARTITION {DAY_TABLE}")
    with pytest.raises(BatchRefused, match="no partition"):
        await writer.store(batch_of([read_of([click()], begins=2)]))
    assert await owner.fetchval(f"SELECT count(*) FROM {DAY_TABLE}") == 1
    assert await owner.fetchval("SELECT next FROM stream_positions") == 2
