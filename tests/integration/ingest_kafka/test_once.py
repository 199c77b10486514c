"""Covers one ingest that reads from a real broker: each record once through repeats, disorder, gaps and a replay from
the beginning; what it says as evidence; what it cannot read. Several processes are test_share.py, a broker that
forgets is test_forgetful_broker.py, the arithmetic alone tests/unit/ingest."""

import asyncio
import random
import signal
from pathlib import Path

import asyncpg

from shared import topics
from shared.topics import Consumed, Gap, Standing
from tests.ingest_builders import click, payload, postback, stranger
from tests.ingest_process import Start
from tests.integration.ingest_kafka.log import (
    Log,
    assert_each_once,
    counts,
    digest,
    new_stream,
    partition_of,
    positions,
    records,
    status,
    until_stored,
)
from tests.kafka.topics import end_offsets


async def test_records_arrive_and_are_vouched_for(
    start: Start, log: Log, owner: asyncpg.Connection, data_dir: Path
) -> None:
    streams = [new_stream() for _ in range(5)]
    ends = {}
    for stream in streams:
        ends[stream] = (await log.send(stream, records(click() for _ in range(700))))[-1] + 1
    process = start()
    await until_stored(owner, dict.fromkeys(streams, 701))
    for stream in streams:  # others may have come behind it
        await log.until_said(stream, Consumed(701, partition_of(stream), ends[stream]))
    late = new_stream()
    await log.send(late, records([click(), postback(), stranger()]))
    await until_stored(owner, dict.fromkeys(streams, 701) | {late: 4}, 3.0)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    found = await counts(owner)
    assert (found["clicks"], found["postbacks"], found["strangers"]) == (3501, 1, 1)
    assert (found["click_deltas"], found["postback_deltas"]) == (3501, 1)
    assert await log.hints() | {partition_of(late): await _end(log, late)} == await log.hints()
    told = status(data_dir)
    assert told["broker"] == {"reachable": True, "trouble": ""}
    assert (len(told["partitions"]), told["repeats"], told["parked"]) == (12, 0, 0)


async def _end(log: Log, stream: bytes) -> int:
    return (await end_offsets(log.bootstrap, topics.EVENTS_TOPIC))[partition_of(stream)]


async def test_a_replay_from_the_beginning_changes_nothing(
    start: Start, log: Log, owner: asyncpg.Connection, data_dir: Path
) -> None:
    wanted = {}
    for number in range(4):
        stream = new_stream()
        events = [click() if place % 9 else postback() for place in range(300 + number)]
        await log.send(stream, records(events))
        await log.send(stream, [topics.encode_gap(Gap(len(events) + 1, len(events) + 5, "damaged"))])
        wanted[stream] = len(events) + 6
    first = start()
    await until_stored(owner, wanted)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    before = await digest(owner)
    await log.forget_where_ingest_stood()
    second = start()
    marker = new_stream()
    await log.send(marker, records([click()]))
    await until_stored(owner, wanted | {marker: 2})
    await _until_read(log, data_dir)
    assert status(data_dir)["repeats"] >= sum(wanted.values()) - len(wanted) * 6
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0
    await owner.execute(
        "DELETE FROM click_deltas WHERE click_id IN (SELECT click_id FROM clicks WHERE stream = $1)", marker
    )
    await owner.execute("DELETE FROM clicks WHERE stream = $1", marker)
    await owner.execute("DELETE FROM stream_positions WHERE stream = $1", marker)
    assert await digest(owner) == before


async def _until_read(log: Log, data_dir: Path) -> None:
    """Until everything in the log is read."""
    ends = await end_offsets(log.bootstrap, topics.EVENTS_TOPIC)
    async with asyncio.timeout(20):
        while True:
            read = {int(name): place["read_to"] for name, place in status(data_dir)["partitions"].items()}
            if read == ends:
                return
            await asyncio.sleep(0.1)


async def test_messages_in_any_order_and_number(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    start()
    wanted = {}
    sending = []
    for _ in range(4):
        stream = new_stream()
        messages = records(click() for _ in range(400))
        copies = [message for message in messages for _ in range(chance.randrange(1, 4))]
        chance.shuffle(copies)
        sending.append(log.send(stream, copies))
        wanted[stream] = 401
    await asyncio.gather(*sending)
    await until_stored(owner, wanted)
    await assert_each_once(owner, 1600)


async def test_a_gap_is_said_until_it_is_filled(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    stream = new_stream()
    messages = records(click() for _ in range(30))
    start()
    await log.send(stream, messages[:10])
    offsets = await log.send(stream, messages[15:30])
    missing = Consumed(11, partition_of(stream), offsets[-1] + 1)
    await log.until_said(stream, missing)
    await asyncio.sleep(2.5)
    said = (await log.evidence())[stream]
    assert 3 <= said.count(missing) <= 5, "now, and once a second"
    assert await positions(owner) == {stream: 11}
    offsets = await log.send(stream, messages[10:15])
    await until_stored(owner, {stream: 31}, 3.0)
    await log.until_said(stream, Consumed(31, partition_of(stream), offsets[-1] + 1))
    await assert_each_once(owner, 30)


async def test_gaps_that_overlap_what_is_there(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    stream = new_stream()
    messages = records(click() for _ in range(20))
    await log.send(stream, messages[:4] + messages[7:8])  # 1 … 4, 8
    await log.send(stream, [topics.encode_gap(Gap(3, 12, "damaged")), topics.encode_gap(Gap(5, 6, "damaged"))])
    await log.send(stream, messages[12:])
    start()
    await until_stored(owner, {stream: 21})
    lost = await owner.fetch("SELECT first_seq, last_seq, reason FROM lost_records ORDER BY 1")
    assert [tuple(row) for row in lost] == [(5, 7, "damaged"), (9, 12, "damaged")]
    assert await owner.fetchval("SELECT array_agg(seq ORDER BY seq) FROM clicks") == [1, 2, 3, 4, 8, *range(13, 21)]


async def test_what_streams_say_of_themselves_is_kept(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    living, gone = new_stream(), new_stream()
    await log.send(living, [*records([click()]), topics.encode_standing(Standing(9, 4, False))])
    end = (await log.send(gone, [*records([click(), click()]), topics.encode_standing(Standing(3, 7, True))]))[-1] + 1
    start()
    await until_stored(owner, {living: 2, gone: 3})
    await log.until_said(gone, Consumed(3, partition_of(gone), end))
    async with asyncio.timeout(5):
        while await owner.fetchval("SELECT count(*) FROM stream_announcements WHERE finished") < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    said = await owner.fetch("SELECT stream, announced, finished FROM stream_announcements")
    assert {tuple(row) for row in said} == {(living, 8, False), (gone, 2, True)}
    lost = await owner.fetch("SELECT stream, clicks FROM declared_losses")
    assert {tuple(row) for row in lost} == {(living, 4), (gone, 7)}


async def test_what_cannot_be_read_is_kept_and_passed(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    stream = new_stream()
    partition = partition_of(stream)
    await log.send_raw(partition, b"short", b"\x01\x01")
    await log.send(stream, records([click()]))
    offset = await log.send_raw(partition, stream, b"\x01\x01\x00")
    await log.send_raw(partition, b"nobody", None)
    await log.send_raw(partition, stream, b"\x01\x63" + bytes(10))  # of a type that a later version writes
    await log.send(stream, records([click()], 2))
    first = start()
    await until_stored(owner, {stream: 3})
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await log.forget_where_ingest_stood()
    second = start()
    await second.until("unreadable_messages")
    letters = await owner.fetch("SELECT stream, payload, reason FROM dead_letters ORDER BY length(payload)")
    assert [letter["payload"] for letter in letters] == [b"", b"\x01\x01", b"\x01\x01\x00"], "once, however often read"
    assert {letter["stream"] for letter in letters} == {bytes(16)}
    assert f"milepost.events, partition {partition}, offset {offset}, key {stream.hex()}" in letters[2]["reason"]


async def test_too_much_that_cannot_be_read_stops_the_line(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    stream = new_stream()
    await log.send(stream, records([click()]))
    for number in range(101):
        await log.send_raw(partition_of(stream), stream, b"\x01%d" % number)
    process = start()
    assert await process.ended() == 1
    assert process.said("line_stopped") == 1


async def test_a_message_of_a_later_version_stops_its_partition_alone(
    start: Start, log: Log, owner: asyncpg.Connection, data_dir: Path
) -> None:
    stopped, other = new_stream(3), new_stream(4)
    await log.send(stopped, records([click()]))
    offset = await log.send_raw(3, stopped, b"\x02\x01" + bytes(10))
    await log.send(stopped, records([click()], 2))
    process = start()
    await process.until("partition_blocked")
    await log.send(other, records([click()]))
    await until_stored(owner, {stopped: 2, other: 2})
    await asyncio.sleep(2.5)
    assert status(data_dir)["partitions"]["3"]["blocked"]
    assert (await log.hints()).get(3, 0) <= offset, "a later version finds it"


async def test_while_postgres_is_away_nothing_is_called_missing(
    start: Start, log: Log, owner: asyncpg.Connection
) -> None:
    stream = new_stream()
    process = start()
    await log.send(stream, records(click() for _ in range(10)))
    await until_stored(owner, {stream: 11})
    async with owner.transaction():
        await owner.execute("LOCK TABLE stream_positions IN ACCESS EXCLUSIVE MODE")
        offsets = await log.send(stream, records((click() for _ in range(500)), 11))
        await asyncio.sleep(4)
        said = (await log.evidence())[stream]
        assert all(word.next_seq == 11 and word.offset <= offsets[0] for word in said if word.next_seq >= 11), said
    await until_stored(owner, {stream: 511})
    await log.until_said(stream, Consumed(511, partition_of(stream), offsets[-1] + 1))
    assert process.said("ingest_interrupted") == 0


async def test_a_payload_that_postgres_refuses_is_buried_as_ever(
    start: Start, log: Log, owner: asyncpg.Connection
) -> None:
    stream = new_stream()
    values = [payload(click()), b"broken", payload(click())]
    await log.send(stream, [topics.encode_record(seq, 1, value) for seq, value in enumerate(values, 1)])
    start()
    await until_stored(owner, {stream: 4})
    letter = await owner.fetchrow("SELECT stream, seq, payload FROM dead_letters")
    assert letter is not None
    assert tuple(letter) == (stream, 2, b"broken")
