"""Covers the making of the topics: whoever comes first, while the broker starts, is frozen or knows them already. What
doctor says of them: ../test_doctor.py. That ingest and the shipper make them: their own tests."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from management.ingest.sources.kafka_topics import (
    MAKE_SECONDS,
    KafkaUnavailable,
    ensure_topics,
    inspect_topics,
)
from shared.topics import CONSUMED_TOPIC, EVENTS_TOPIC, LAYOUTS
from tests.kafka.broker import Broker
from tests.kafka.topics import delete_topics, end_offsets, make_topic


async def partitions(kafka: Broker) -> dict[str, int]:
    return {name: len(await end_offsets(kafka.bootstrap, name)) for name in (EVENTS_TOPIC, CONSUMED_TOPIC)}


async def test_they_are_made_as_agreed_and_only_once(kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap)
    for _ in range(2):
        await ensure_topics(kafka.bootstrap)
    assert await partitions(kafka) == {name: layout.partitions for name, layout in LAYOUTS.items()}
    assert await inspect_topics(kafka.bootstrap) == []


async def test_of_many_who_come_at_once_nobody_fails(kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap)
    await asyncio.gather(*(ensure_topics(kafka.bootstrap) for _ in range(8)))
    assert await inspect_topics(kafka.bootstrap) == []


async def test_one_that_is_missing_is_made_and_the_other_left_as_it_is(kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap)
    await make_topic(kafka.bootstrap, EVENTS_TOPIC, 3)
    await ensure_topics(kafka.bootstrap)
    assert await partitions(kafka) == {EVENTS_TOPIC: 3, CONSUMED_TOPIC: 1}


async def test_a_broker_that_is_frozen_is_not_waited_for_for_ever(kafka: Broker) -> None:
    kafka.freeze()
    begun = time.monotonic()
    with pytest.raises(KafkaUnavailable, match="does not answer within"):
        await ensure_topics(kafka.bootstrap)
    assert time.monotonic() - begun < MAKE_SECONDS + 3


async def test_a_broker_that_was_frozen_may_count_itself_as_dead_for_a_moment(kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap)
    for _ in range(3):
        kafka.freeze()
        await asyncio.sleep(2.5)  # longer than its session
        kafka.thaw()
        await ensure_topics(kafka.bootstrap)


async def test_while_a_broker_starts_it_is_unavailable_and_nothing_worse(kafka: Broker) -> None:
    kafka.wipe()
    starting = asyncio.create_task(asyncio.to_thread(kafka.start))
    made = refused = 0
    while not (starting.done() and made):
        try:
            await ensure_topics(kafka.bootstrap)
            made += 1
        except KafkaUnavailable:
            refused += 1
        await asyncio.sleep(0.1)
    await starting
    assert refused
    assert await inspect_topics(kafka.bootstrap) == []


async def test_offsets_committed_for_a_deleted_topic_are_forgotten(kafka: Broker) -> None:
    """So no test begins where another one ended, and ingest's hint does not outlive the log it points into."""
    place = TopicPartition(EVENTS_TOPIC, 0)

    async def committed(offset: int | None = None) -> int | None:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id="any", enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([place])
            if offset is not None:
                await consumer.commit({place: offset})
            found = await consumer.committed(place)
            return None if found is None else int(found)
        finally:
            await consumer.stop()

    assert await committed(7) == 7
    await delete_topics(kafka.bootstrap)
    await ensure_topics(kafka.bootstrap)
    assert await committed() is None
