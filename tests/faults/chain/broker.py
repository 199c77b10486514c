"""The broker of a run, reached by the shipper over a network that can fail, and a rogue client of its topics."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared import topics
from tests.kafka.broker import Broker
from tests.kafka.proxy import Proxy

_READ_MS: Final = 1_000

Sent = tuple[int, bytes | None, bytes | None]
"""(partition, key, value)"""


class ProxiedBroker(Broker):
    """A real broker; `network` stands between it and the shipper. A context manager that starts and closes both."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.network = Proxy(self.proxied_port, self.proxy_port)

    def bootstrap_of(self, part: str) -> str:
        """Where this part of the system finds the broker."""
        return self.network.address if part == "shipper" else self.bootstrap

    def __enter__(self) -> Self:
        self.network.__enter__()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.network.__exit__(kind, error, trace)


async def forget_progress(bootstrap: str) -> None:
    """The offsets that ingest committed stand at the beginning of every partition again."""
    async with _consumer(bootstrap, topics.INGEST_GROUP) as consumer:
        partitions = await _partitions(bootstrap)
        consumer.assign(partitions)
        await consumer.commit(await consumer.beginning_offsets(partitions))


async def last_records(bootstrap: str, most: int) -> list[ConsumerRecord]:
    """The last messages of every partition of the events, up to `most` of each, in order."""
    found: list[ConsumerRecord] = []
    async with _consumer(bootstrap, None) as consumer:
        partitions = await _partitions(bootstrap)
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        waiting = {place for place in partitions if ends[place] > begins[place]}
        for place in partitions:
            consumer.seek(place, max(begins[place], ends[place] - most))
        while waiting:
            for place, records in (await consumer.getmany(*waiting, timeout_ms=_READ_MS)).items():
                found += (record for record in records if record.offset < ends[place])
            for place in [place for place in waiting if await consumer.position(place) >= ends[place]]:
                waiting.discard(place)
    return found


async def send(bootstrap: str, messages: Sequence[Sent]) -> None:
    """Append these to the events, in this order, as nobody of the system would."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for partition, key, value in messages:
            await producer.send(topics.EVENTS_TOPIC, value, key, partition)
        await producer.flush()
    finally:
        await producer.stop()


@asynccontextmanager
async def _consumer(bootstrap: str, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="none"
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(bootstrap: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([topics.EVENTS_TOPIC])
    finally:
        await admin.close()
    return [TopicPartition(topics.EVENTS_TOPIC, found["partition"]) for found in topic["partitions"]]
