"""Covers one ingest on a broker that is stopped, wiped, or put back to an earlier state under it: it says so, reads
what is there then, and calls missing what is missing. That shippers send it again is tests/integration/shipper; here
the test does it for them."""

import asyncio
import signal
from pathlib import Path

import asyncpg

from management.ingest.sources.kafka_topics import ensure_topics
from shared.topics import Consumed
from tests.ingest_builders import click
from tests.ingest_process import Start
from tests.integration.ingest_kafka.log import (
    Log,
    assert_each_once,
    new_stream,
    partition_of,
    records,
    status,
    until_stored,
)
from tests.kafka.broker import Broker
from tests.kafka.topics import delete_records


async def until_reachable(data_dir: Path, wanted: bool, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while status(data_dir)["broker"]["reachable"] is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_broker_that_is_away_is_not_an_empty_topic(
    start: Start, log: Log, kafka: Broker, owner: asyncpg.Connection, data_dir: Path
) -> None:
    stream = new_stream()
    process = start()
    messages = records(click() for _ in range(20))
    await log.send(stream, messages[:10])
    await until_stored(owner, {stream: 11})
    await asyncio.to_thread(kafka.kill)
    await until_reachable(data_dir, False)
    await asyncio.sleep(3)
    await asyncio.to_thread(kafka.start)
    await until_reachable(data_dir, True)
    await log.send(stream, messages[10:])
    await until_stored(owner, {stream: 21})
    assert (process.said("broker_away"), process.said("broker_back")) == (1, 1), "one line each"
    assert process.said("log_replaced") == 0
    assert len(process.lines()) < 12, "and none of the library's"
    await assert_each_once(owner, 20)


async def test_it_starts_before_the_broker_is_there(
    start: Start, log: Log, kafka: Broker, owner: asyncpg.Connection
) -> None:
    stream = new_stream()
    await log.send(stream, records([click()]))
    await asyncio.to_thread(kafka.stop)
    process = start()
    await process.until("broker_away")
    await asyncio.to_thread(kafka.start)
    await until_stored(owner, {stream: 2})
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_asked_to_stop_without_a_broker_it_stops(start: Start, kafka: Broker) -> None:
    process = start()
    await process.until("ingest_works")
    await asyncio.to_thread(kafka.kill)
    await asyncio.sleep(2)
    process.signal(signal.SIGTERM)
    assert await process.ended(15) == 0


async def test_a_wiped_broker_is_read_from_its_beginning(
    start: Start, log: Log, kafka: Broker, owner: asyncpg.Connection
) -> None:
    old, new = new_stream(5), new_stream(5)
    messages = records(click() for _ in range(60))
    process = start()
    await log.send(old, messages[:40])
    await until_stored(owner, {old: 41})
    await asyncio.to_thread(kafka.wipe)
    await asyncio.to_thread(kafka.start)
    await ensure_topics(kafka.bootstrap)
    async with Log.of(kafka.bootstrap) as again:
        # More than the old log held, at once: its end alone does not tell the new one from it.
        await again.send(new, records(click() for _ in range(30)))
        end = (await again.send(old, messages[20:]))[-1] + 1
        await until_stored(owner, {old: 61, new: 31})
        await again.until_said(old, Consumed(61, 5, end))
        await again.until_said(new, Consumed(31, 5, end))
    assert process.said("log_replaced") >= 1
    await assert_each_once(owner, 90)


async def test_a_broker_that_forgot_what_was_read_already(
    start: Start, log: Log, kafka: Broker, owner: asyncpg.Connection
) -> None:
    streams = [new_stream(5), new_stream(5)]
    messages = [records(click() for _ in range(60)) for _ in streams]
    process = start()
    await log.send(streams[0], messages[0][:30])
    await asyncio.to_thread(kafka.remember)
    await asyncio.to_thread(kafka.start)
    await log.send(streams[0], messages[0][30:40])
    await until_stored(owner, {streams[0]: 41})
    await asyncio.to_thread(kafka.go_back)
    await asyncio.to_thread(kafka.start)
    async with Log.of(kafka.bootstrap) as again:
        # Other messages where the forgotten ones stood, and beyond.
        end = (await again.send(streams[1], messages[1]))[-1] + 1
        await until_stored(owner, {streams[0]: 41, streams[1]: 61})
        await again.until_said(streams[1], Consumed(61, 5, end))
        await again.send(streams[0], messages[0][40:])
        await until_stored(owner, {streams[0]: 61, streams[1]: 61})
    assert process.said("log_replaced") >= 1
    await assert_each_once(owner, 120)


async def test_where_retention_was_quicker_it_goes_on_at_the_beginning(
    start: Start, log: Log, kafka: Broker, owner: asyncpg.Connection
) -> None:
    stream = new_stream()
    messages = records(click() for _ in range(50))
    first = start()
    await log.send(stream, messages[:10])
    await until_stored(owner, {stream: 11})
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    offsets = await log.send(stream, messages[10:])
    await delete_records(kafka.bootstrap, "milepost.events", partition_of(stream), offsets[20])
    start()
    await log.until_said(stream, Consumed(11, partition_of(stream), offsets[-1] + 1))
    await log.send(stream, messages[10:30])
    await until_stored(owner, {stream: 51})
    await assert_each_once(owner, 50)
