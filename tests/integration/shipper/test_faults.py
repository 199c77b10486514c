"""Covers shipping while the broker is killed, frozen, wiped, put back or away, while a topic is deleted, while ingest
passes records over or says nothing: everything journaled is in the log after the last loss, and is sent again on
evidence alone. The evidence here is what ingest would say; with a real ingest: tests/faults/chain."""

import asyncio
import signal
import time

import pytest

from shared.topics import CONSUMED_TOPIC, EVENTS_TOPIC, Consumed
from tests.integration.shipper.conftest import Shipped, Start
from tests.integration.shipper.harness import Log, ShipperProcess, Streams, say
from tests.kafka.broker import Broker
from tests.kafka.topics import delete_topics

EVIDENCE_SECONDS = 5.0


async def complete(broker: Broker, process: ShipperProcess, streams: Streams, begins: dict[bytes, int]) -> Log:
    """Until the log holds each stream in order, from the seq it must hold on."""
    deadline = time.monotonic() + 60
    while True:
        await process.until_status("unsent_records", 0)
        log = await Log.read(broker.bootstrap)
        missing = {
            stream: gone
            for stream, first in begins.items()
            if (gone := set(range(first, streams.written[stream] + 1)) - set(log.seqs(stream)))
        }
        if not missing:
            return log
        assert time.monotonic() < deadline, (missing, process.lines())
        await asyncio.sleep(0.5)


async def test_a_broker_that_is_killed_while_shipping_loses_nothing(
    own_kafka: Broker, streams: Streams, shipper: Start
) -> None:
    ids = [streams.begin() for _ in range(3)]
    process = shipper(own_kafka.bootstrap)
    await process.until_said("kafka_reached")
    for _ in range(2):
        for stream in ids:
            await streams.append(stream, 3_000)
        await asyncio.to_thread(own_kafka.kill)
        for stream in ids:
            await streams.append(stream, 300)
        await asyncio.to_thread(own_kafka.start)
    log = await complete(own_kafka, process, streams, dict.fromkeys(ids, 1))
    for stream in ids:
        assert sorted(set(log.seqs(stream))) == list(range(1, 6_601))
        log.partition(stream)
    assert process.went_back("passed_over") == 0
    assert process.status().get("resent") == 0
    assert len(process.said("kafka_away")) <= 2


async def test_a_wiped_broker_gets_everything_again_that_is_not_stored(
    own_kafka: Broker, streams: Streams, shipper: Start
) -> None:
    """Both topics are made anew. What ingest stored is not sent again."""
    stream, idle = await streams.holding(1_000), await streams.holding(50)
    await streams.end(idle)
    process = shipper(own_kafka.bootstrap)
    await process.until_shipped(1_050)
    log = await Log.read(own_kafka.bootstrap)
    await say(own_kafka.bootstrap, {stream: log.stored(stream, 400)})
    await process.until_status("unconsumed_records", 650)
    await asyncio.to_thread(own_kafka.wipe)
    await streams.append(stream, 100)
    await asyncio.to_thread(own_kafka.start)
    # What was new may have been acknowledged by the new log a moment before it was known to be another one.
    await process.until(lambda: process.status().get("resent") in (650, 750), "all is sent again")
    log = await complete(own_kafka, process, streams, {stream: 401, idle: 1})
    assert log.seqs(stream)[-700:] == list(range(401, 1_101))
    assert set(log.seqs(stream)[:-700]) <= set(range(1_001, 1_101))
    assert log.seqs(idle) == list(range(1, 51))
    await process.until(lambda: process.status()["kafka"] == "reached", "Kafka is reached")
    assert process.went_back("topic_gone") + process.went_back("log_lost") == 2


async def test_a_broker_that_forgets_its_last_records_gets_them_again_within_5_s(
    own_kafka: Broker, streams: Streams, shipped: Shipped
) -> None:
    stream, process = await shipped(own_kafka, 500)
    await asyncio.to_thread(own_kafka.remember)
    await asyncio.to_thread(own_kafka.start)
    await streams.append(stream, 500)
    await process.until_shipped(1_000)
    await asyncio.to_thread(own_kafka.go_back)
    await asyncio.to_thread(own_kafka.start)
    await process.until_went_back("log_lost", EVIDENCE_SECONDS)
    log = await complete(own_kafka, process, streams, {stream: 1})
    assert log.seqs(stream)[500:] == list(range(1, 1_001))


async def test_a_deleted_topic_is_made_again_and_filled_within_5_s(
    kafka: Broker, streams: Streams, shipped: Shipped
) -> None:
    stream, process = await shipped(kafka, 300)
    await process.until_said("kafka_reached")
    await delete_topics(kafka.bootstrap, EVENTS_TOPIC)
    await process.until_went_back("topic_gone", EVIDENCE_SECONDS)
    log = await complete(kafka, process, streams, {stream: 1})
    assert log.seqs(stream) == list(range(1, 301))
    await streams.append(stream, 10)
    await complete(kafka, process, streams, {stream: 1})


async def test_records_that_ingest_passed_over_are_sent_again_within_5_s(
    kafka: Broker, streams: Streams, shipper: Start
) -> None:
    stream, other = await streams.holding(100), await streams.holding(100)
    process = shipper(kafka.bootstrap)
    await process.until_shipped(200)
    log = await Log.read(kafka.bootstrap)
    places = {one: (log.partition(one), log.offsets[one, 40]) for one in (stream, other)}
    # Of the other one, record 40 is still to be read.
    await say(kafka.bootstrap, {one: Consumed(40, *places[one]) for one in (stream, other)})
    await asyncio.sleep(3)
    assert process.said("went_back") == []
    await say(kafka.bootstrap, {stream: Consumed(40, places[stream][0], places[stream][1] + 1)})
    await process.until_went_back("passed_over", EVIDENCE_SECONDS)
    await process.until_status("resent", 61)
    log = await Log.read(kafka.bootstrap)
    assert log.seqs(stream) == [*range(1, 101), *range(40, 101)]
    assert log.seqs(other) == list(range(1, 101))


async def test_a_stream_that_was_passed_over_while_no_shipper_ran_is_sent_again(
    kafka: Broker, streams: Streams, shipper: Start
) -> None:
    stream = await streams.holding(100)
    await streams.end(stream)
    process = shipper(kafka.bootstrap)
    await process.until_shipped(100)
    await process.stopped()
    log = await Log.read(kafka.bootstrap)
    await say(kafka.bootstrap, {stream: Consumed(90, log.partition(stream), log.ends[log.partition(stream)])})
    process = shipper(kafka.bootstrap)
    await process.until_went_back("passed_over")
    # Although it was told before that the stream is finished.
    await process.until_status("resent", 11, EVIDENCE_SECONDS)


@pytest.mark.parametrize("silent", ["nothing is said", "the same is said again and again"])
async def test_however_long_ingest_stands_still_nothing_is_sent_again(
    kafka: Broker, streams: Streams, shipped: Shipped, silent: str
) -> None:
    stream, process = await shipped(kafka, 2_000)
    log = await Log.read(kafka.bootstrap)
    stands = Consumed(100, log.partition(stream), log.offsets[stream, 100])
    for _ in range(12):
        if silent != "nothing is said":
            await say(kafka.bootstrap, {stream: stands})
        await streams.append(stream, 10)
        await asyncio.sleep(1)
    await process.until_shipped(2_120)
    assert (await Log.read(kafka.bootstrap)).seqs(stream) == list(range(1, 2_121))
    assert process.status().get("resent") == 0


async def test_a_frozen_broker_is_waited_for(own_kafka: Broker, streams: Streams, shipped: Shipped) -> None:
    """Longer than the deadline of a batch: its producer is given up, and what was in flight may be there twice."""
    stream, process = await shipped(own_kafka, 100)
    own_kafka.freeze()
    await streams.append(stream, 400)
    await process.until_said("kafka_away", EVIDENCE_SECONDS)
    await asyncio.sleep(15)
    await streams.append(stream, 100)
    own_kafka.thaw()
    log = await complete(own_kafka, process, streams, {stream: 1})
    assert sorted(set(log.seqs(stream))) == list(range(1, 601))
    assert len(log.seqs(stream)) <= 1_000
    assert len(process.said("kafka_away")) == 1
    assert process.said("went_back") == []


async def test_a_shipper_starts_before_its_broker_and_says_so_once(
    own_kafka: Broker, streams: Streams, shipper: Start
) -> None:
    await asyncio.to_thread(own_kafka.stop)
    stream = await streams.holding(50)
    process = shipper(own_kafka.bootstrap)
    await process.until_said("kafka_away")
    await asyncio.sleep(5)
    assert len(process.lines()) <= 1 + 5  # of aiokafka's
    await asyncio.to_thread(own_kafka.start)
    await process.until_shipped(50)
    await process.until_said("kafka_reached")
    assert (await Log.read(own_kafka.bootstrap)).seqs(stream) == list(range(1, 51))


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
async def test_without_its_broker_a_shipper_ends_in_time_and_remembers(
    own_kafka: Broker, streams: Streams, shipper: Start, shipped: Shipped, fault: str
) -> None:
    stream, process = await shipped(own_kafka, 100)
    if fault == "stopped":
        await asyncio.to_thread(own_kafka.stop)
    else:
        own_kafka.freeze()
    await streams.append(stream, 100)
    await asyncio.sleep(1)
    process.signal(signal.SIGTERM)
    began = time.monotonic()
    assert await process.ended() == 0
    assert time.monotonic() - began < 10
    await asyncio.to_thread(own_kafka.start)
    process = shipper(own_kafka.bootstrap)
    log = await complete(own_kafka, process, streams, {stream: 1})
    assert len(log.seqs(stream)) <= 300


async def test_a_lost_topic_of_evidence_does_no_harm(
    kafka: Broker, streams: Streams, shipper: Start, shipped: Shipped
) -> None:
    stream, process = await shipped(kafka, 100)
    log = await Log.read(kafka.bootstrap)
    await say(kafka.bootstrap, {stream: log.stored(stream, 50)})
    await process.until_status("unconsumed_records", 50)
    await delete_topics(kafka.bootstrap, CONSUMED_TOPIC)
    await streams.append(stream, 10)
    await process.until_shipped(110)
    await process.stopped()
    process = shipper(kafka.bootstrap)
    await process.until_said("kafka_reached")
    log = await Log.read(kafka.bootstrap)
    await say(kafka.bootstrap, {stream: log.stored(stream, 110)})
    await process.until_status("unconsumed_records", 0)
    assert log.seqs(stream) == list(range(1, 111))
