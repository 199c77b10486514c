"""Covers the way from the journal to the events topic and back, with a broker that works: order, partitions, standings,
gaps, what is deleted when, restarts. With one that fails: `test_faults`; the decisions alone: tests/unit/shipper."""

import asyncio
import os
import signal

from shared import topics
from shared.journal import read_shipped
from shared.topics import Gap, Standing
from tests.integration.shipper.conftest import Shipped, Start
from tests.integration.shipper.harness import KIND, Log, Streams, payload, say
from tests.kafka.broker import Broker


async def test_everything_arrives_in_order_each_stream_in_one_partition(
    own_kafka: Broker, streams: Streams, shipper: Start
) -> None:
    """The topics are made on the way."""
    ids = [streams.begin() for _ in range(6)]
    for stream in ids[:3]:
        await streams.append(stream, 2_000)
    await streams.append(ids[3], 40, size=64 * 1024)
    process = shipper(own_kafka.bootstrap)
    for stream in ids[:5]:
        await streams.append(stream, 300)
    await process.until_shipped(3 * 2_000 + 40 + 5 * 300)
    log = await Log.read(own_kafka.bootstrap)
    for stream in ids:
        assert log.seqs(stream) == list(range(1, streams.written[stream] + 1))
        assert log.partition(stream) == topics.partition_of(stream, topics.EVENTS_PARTITIONS)
    first = log.records[ids[0]][0]
    assert (first.kind, first.payload) == (KIND, payload(ids[0], 1, 600))
    assert process.status()["resent"] == 0


async def test_each_second_a_worker_stands_somewhere_and_at_last_it_is_finished(
    kafka: Broker, streams: Streams, shipper: Start
) -> None:
    living, idle = streams.begin(), streams.begin()
    await streams.append(living, 5)
    process = shipper(kafka.bootstrap)
    await process.until_shipped(5)
    await asyncio.sleep(3.5)
    await streams.append(living, 2)
    await streams.end(living)
    await process.until_shipped(7)
    await asyncio.sleep(0.5)
    log = await Log.read(kafka.bootstrap)
    assert log.standings[living][-1] == Standing(8, 0, True)
    assert 3 <= len(log.standings[idle]) <= 10
    assert {standing.finished for standing in log.standings[idle]} == {False}
    assert Standing(6, 0, False) in log.standings[living]


async def test_damage_is_sent_as_a_gap_in_its_place(kafka: Broker, streams: Streams, shipper: Start) -> None:
    stream = await streams.holding(100)
    await streams.end(stream)
    (segment,) = streams.path(stream).glob("*.seg")
    whole = segment.read_bytes()
    at = whole.index(b'"seq":40,')
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    end = whole.index(b'"seq":91,')
    os.truncate(segment, end)  # the worker announced 100
    process = shipper(kafka.bootstrap)
    await process.until(lambda: process.status().get("shipped", 0) == 100, "all is shipped")
    log = await Log.read(kafka.bootstrap)
    assert log.seqs(stream) == [*range(1, 40), *range(41, 91)]
    assert log.gaps[stream] == [Gap(40, 40, "damaged"), Gap(91, 100, "missing")]
    assert log.standings[stream][-1] == Standing(101, 0, True)


async def test_segments_go_when_they_are_stored_and_not_before(kafka: Broker, streams: Streams, shipper: Start) -> None:
    stream, dead = await streams.holding(200, segment_bytes=16 * 1024), await streams.holding(10)
    await streams.end(dead)
    process = shipper(kafka.bootstrap, JOURNAL_KEEP="0s")
    await process.until_shipped(210)
    segments = len(list(streams.path(stream).glob("*.seg")))
    await asyncio.sleep(12)  # more than a sweep
    assert len(list(streams.path(stream).glob("*.seg"))) == segments > 5
    assert streams.path(dead).exists()
    log = await Log.read(kafka.bootstrap)
    await say(kafka.bootstrap, {stream: log.stored(stream, 100), dead: log.stored(dead, 10)})
    await process.until(lambda: not streams.path(dead).exists(), "the dead stream is deleted")
    left = len(list(streams.path(stream).glob("*.seg")))
    assert 1 < left < segments - 1
    assert process.status()["resent"] == 0


async def test_stored_segments_are_kept_for_as_long_as_is_asked(
    kafka: Broker, streams: Streams, shipper: Start
) -> None:
    stream = await streams.holding(100, segment_bytes=16 * 1024)
    await streams.end(stream)
    process = shipper(kafka.bootstrap, JOURNAL_KEEP="1h")
    await process.until_shipped(100)
    segments = len(list(streams.path(stream).glob("*.seg")))
    log = await Log.read(kafka.bootstrap)
    await say(kafka.bootstrap, {stream: log.stored(stream, 100)})
    await process.until(lambda: (streams.path(stream) / "consumed").exists(), "a sweep")
    assert (streams.path(stream) / "consumed").read_text() == "101 end\n"
    assert len(list(streams.path(stream).glob("*.seg"))) == segments


async def test_a_restart_in_order_sends_nothing_again(
    kafka: Broker, streams: Streams, shipper: Start, shipped: Shipped
) -> None:
    stream, process = await shipped(kafka, 500)
    await process.stopped()
    kept = read_shipped(streams.path(stream))
    assert kept is not None
    assert kept.next_seq == 501
    await streams.append(stream, 100)
    process = shipper(kafka.bootstrap)
    await process.until_shipped(100)
    log = await Log.read(kafka.bootstrap)
    assert log.seqs(stream) == list(range(1, 601))


async def test_after_kill_9_little_is_sent_again_and_nothing_left_out(
    kafka: Broker, streams: Streams, shipper: Start, shipped: Shipped
) -> None:
    stream, process = await shipped(kafka, 3_000)
    await asyncio.sleep(1.2)  # so that it is remembered
    for _ in range(3):
        await streams.append(stream, 200)
        await asyncio.sleep(0.2)
        process.signal(signal.SIGKILL)
        await process.ended()
        process = shipper(kafka.bootstrap)
        await process.until_status("unsent_records", 0)
        await asyncio.sleep(1.2)
    seqs = (await Log.read(kafka.bootstrap)).seqs(stream)
    assert sorted(set(seqs)) == list(range(1, 3_601))
    assert len(seqs) <= 3_600 + 3 * 200
    assert seqs[:3_000] == list(range(1, 3_001))


async def test_a_lost_memory_costs_repeats_and_nothing_else(
    kafka: Broker, streams: Streams, shipper: Start, shipped: Shipped
) -> None:
    stream, process = await shipped(kafka, 200)
    await process.stopped()
    (streams.path(stream) / "shipped").write_text("7 nonsense")
    process = shipper(kafka.bootstrap)
    await process.until_shipped(200)
    log = await Log.read(kafka.bootstrap)
    assert log.seqs(stream) == [*range(1, 201), *range(1, 201)]
    assert log.partition(stream) == topics.partition_of(stream, topics.EVENTS_PARTITIONS)


async def test_what_is_journaled_last_is_sent_before_the_end(kafka: Broker, streams: Streams, shipper: Start) -> None:
    stream = streams.begin()
    process = shipper(kafka.bootstrap)
    await process.until_said("kafka_reached")
    await streams.append(stream, 2_000)
    await process.stopped()
    assert (await Log.read(kafka.bootstrap)).seqs(stream) == list(range(1, 2_001))


async def test_a_second_shipper_does_not_work(kafka: Broker, streams: Streams, shipper: Start) -> None:
    first = shipper(kafka.bootstrap)
    await first.until_said("kafka_reached")
    second = shipper(kafka.bootstrap)
    assert await second.ended() == 1
    (line,) = second.lines()
    assert line["event"] == "cannot_ship"
    assert line["error"] == f"another process already takes away what is journaled in {streams.data_dir.journal}"
    first.signal(signal.SIGKILL)
    await first.ended()
    third = shipper(kafka.bootstrap)
    await third.until_said("kafka_reached")
