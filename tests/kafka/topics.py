"""What tests ask of a broker's topics: make and forget them, read all of one, cut its log."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import NodeNotReadyError

from shared.topics import CONSUMED_TOPIC, EVENTS_TOPIC

SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.02
_NONE: Final[Mapping[str, str]] = {}


@asynccontextmanager
async def administration(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, for what the functions below do not do."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def delete_topics(bootstrap: str, *names: str) -> None:
    """Delete these topics (none named: both of milepost's), and wait until the broker knows nothing of them."""
    wanted = set(names or (EVENTS_TOPIC, CONSUMED_TOPIC))
    async with asyncio.timeout(SECONDS):
        while True:
            # A broker that was frozen counts itself as dead for a moment, and says so to a new client only.
            with suppress(NodeNotReadyError):
                async with administration(bootstrap) as admin:
                    while present := wanted & set(await admin.list_topics()):
                        await admin.delete_topics(sorted(present))
                        await asyncio.sleep(_PAUSE_SECONDS)
                    return
            await asyncio.sleep(_PAUSE_SECONDS)


async def make_topic(bootstrap: str, name: str, partitions: int, settings: Mapping[str, str] = _NONE) -> None:
    """Make a topic that is not there, in a layout of the test's own; known to the broker when this returns."""
    async with asyncio.timeout(SECONDS), administration(bootstrap) as admin:
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(settings))])
        assert not answer.topic_errors[0][1], answer.topic_errors
        while True:
            if name in await admin.list_topics():
                return
            await asyncio.sleep(_PAUSE_SECONDS)


async def delete_records(bootstrap: str, topic: str, partition: int, before: int) -> None:
    """Raise the beginning of a partition's log to offset `before`, as retention does."""
    async with asyncio.timeout(SECONDS), administration(bootstrap) as admin:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)})


async def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Of each partition, the offset that its next record will get."""
    async with asyncio.timeout(SECONDS), _consumer(bootstrap) as consumer:
        found = await consumer.end_offsets(await _partitions(bootstrap, topic))
    return {partition.partition: offset for partition, offset in found.items()}


async def everything(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """All records that a topic holds now: partition by partition, in order."""
    found: list[Any] = []
    async with asyncio.timeout(SECONDS), _consumer(bootstrap) as consumer:
        partitions = await _partitions(bootstrap, topic)
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        while [partition for partition in partitions if await consumer.position(partition) < ends[partition]]:
            for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                found += [record for record in records if record.offset < ends[partition]]
    return sorted(found, key=lambda record: (record.partition, record.offset))


@asynccontextmanager
async def _consumer(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(bootstrap: str, topic: str) -> list[TopicPartition]:
    async with administration(bootstrap) as admin:
        (found,) = [found for found in await admin.describe_topics() if found["topic"] == topic]
    return sorted(TopicPartition(topic, partition["partition"]) for partition in found["partitions"])
