"""The events topic as one consumer without a group: which partitions, and from where, is said by whoever asks.

Everything that waits for the broker has a deadline of its own: aiokafka by itself repeats for 40 s and more.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from management.ingest.sources.kafka_topics import KafkaUnavailable
from management.ingest.sources.place import Message
from shared.deadline import within
from shared.topics import EVENTS_TOPIC, INGEST_GROUP

START_SECONDS: Final = 10.0
ASK_SECONDS: Final = 3.0
STOP_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 0.1
_POLL_MS: Final = 200
_MESSAGES: Final = 2_000  # some 10 ms of the loop's time
_FETCH_BYTES: Final = 8 << 20
_PARTITION_BYTES: Final = 2 << 20
_METADATA_MS: Final = 30_000

UNREACHABLE: Final = (KafkaError, KafkaUnavailable, OSError, TimeoutError)
"""What a broker raises that is away, starting, or has just lost a topic."""


class Hint(NamedTuple):
    """Where reading may begin, and the fingerprint of the message before it ("" where there is none)."""

    offset: int
    last: str


class OutOfRange(Exception):
    """The log does not hold what was to be read next in `partitions`."""

    def __init__(self, partitions: Collection[int]) -> None:
        super().__init__(f"partitions {sorted(partitions)}")
        self.partitions = partitions


class LogReader:
    """Raises what UNREACHABLE lists. Use: open, assign, get …, close."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._keeper: AIOKafkaConsumer | None = None
        self._kept: frozenset[int] = frozenset()

    @property
    def is_open(self) -> bool:
        return self._consumer is not None

    async def open(self) -> None:
        self._consumer = await self._started("milepost-ingest", None)

    async def close(self) -> None:
        consumers = [consumer for consumer in (self._consumer, self._keeper) if consumer is not None]
        self._consumer = self._keeper = None
        await asyncio.gather(*map(_stop, consumers))

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        consumer = self._opened()
        if not offsets:
            if consumer.assignment():
                consumer.unsubscribe()
            return
        # Without an await between: the library's fetcher must not see a partition without a position.
        consumer.assign([_at(partition) for partition in offsets])
        for partition, offset in offsets.items():
            consumer.seek(_at(partition), offset)

    async def get(self) -> dict[int, list[Message]]:
        """What came, after 0.2 s at most. Nothing says nothing: it is also what an outage looks like."""
        try:
            found = await self._opened().getmany(timeout_ms=_POLL_MS, max_records=_MESSAGES)
        except OffsetOutOfRangeError as error:
            raise OutOfRange([place.partition for place in error.args[0]]) from error
        return {place.partition: messages for place, messages in found.items()}

    async def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """Partition → the offset that the next message will get."""
        places = [_at(partition) for partition in partitions]
        found = await within(ASK_SECONDS, self._opened().end_offsets(places))
        return {place.partition: offset for place, offset in found.items()}

    async def beginnings(self, partitions: Collection[int]) -> dict[int, int]:
        """Partition → the offset of the first message that is kept."""
        places = [_at(partition) for partition in partitions]
        found = await within(ASK_SECONDS, self._opened().beginning_offsets(places))
        return {place.partition: offset for place, offset in found.items()}

    async def hints(self) -> dict[int, Hint]:
        """What was committed, of all partitions that have something."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=int(ASK_SECONDS * 1000))
        try:
            found = await within(ASK_SECONDS, _kept_offsets(admin))
        finally:
            with suppress(TimeoutError, KafkaError, OSError):
                await within(STOP_SECONDS, admin.close())
        return {
            place.partition: Hint(kept.offset, kept.metadata or "")
            for place, kept in found.items()
            if place.topic == EVENTS_TOPIC and kept.offset >= 0
        }

    async def commit(self, hints: Mapping[int, Hint]) -> None:
        """Keep where the next reader may begin."""
        try:
            await within(
                ASK_SECONDS, self._commit({_at(number): (hint.offset, hint.last) for number, hint in hints.items()})
            )
        except BaseException:
            keeper, self._keeper = self._keeper, None
            if keeper is not None:
                await _stop(keeper)
            raise

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        keeper = await self._keeper_of(frozenset(place.partition for place in offsets))
        await keeper.commit(offsets)

    async def _keeper_of(self, partitions: frozenset[int]) -> AIOKafkaConsumer:
        """A consumer that reads nothing. One with a group of its name does not outlive that its partitions change
        while the group's coordinator is not known, so the one that reads has none."""
        if self._keeper is None or not partitions <= self._kept:
            former, self._keeper = self._keeper, None
            if former is not None:
                await _stop(former)
            known = self._consumer.partitions_for_topic(EVENTS_TOPIC) if self._consumer is not None else None
            self._kept |= partitions | (known or frozenset())
            self._keeper = await self._started("milepost-ingest-offsets", INGEST_GROUP)
            places = [_at(partition) for partition in self._kept]
            self._keeper.assign(places)
            self._keeper.pause(*places)
            for place in places:
                self._keeper.seek(place, 0)
        return self._keeper

    async def _started(self, name: str, group: str | None) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=name,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            metadata_max_age_ms=_METADATA_MS,
        )
        try:
            await within(START_SECONDS, consumer.start())
        except BaseException:
            await _stop(consumer)
            raise
        return consumer

    def _opened(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise KafkaUnavailable("not connected")
        return self._consumer


async def _kept_offsets(admin: AIOKafkaAdminClient) -> dict[TopicPartition, OffsetAndMetadata]:
    await admin.start()
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(INGEST_GROUP)
            return found
        except KafkaError as error:  # a new broker first makes the topic that it keeps offsets in
            if not error.retriable:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


def _at(partition: int) -> TopicPartition:
    return TopicPartition(EVENTS_TOPIC, partition)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    with suppress(TimeoutError, KafkaError, OSError):  # it is given up either way
        await within(STOP_SECONDS, consumer.stop())
