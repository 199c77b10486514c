"""What Kafka tells the shipper: whether the topics are there, where the logs end, what ingest said."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from edge.shipper.asking import REQUEST_TIMEOUT_MS, START_SECONDS, UNREACHABLE
from shared.deadline import within
from shared.topics import (
    CONSUMED_TOPIC,
    EVENTS_TOPIC,
    INGEST_GROUP,
    LAYOUTS,
    Consumed,
    UnreadableMessage,
    decode_consumed,
    stream_of,
)

ASK_SECONDS: Final = 2.0
"""For one question to the broker."""
CREATE_SECONDS: Final = 10.0
_POLL_MS: Final = 500
_PAUSE_SECONDS: Final = 0.1
_CLOSE_SECONDS: Final = 2.0
_BROKERS_DEFAULT: Final = -1  # replicas: what the cluster's operator set

log = structlog.get_logger()


class Topics(NamedTuple):
    """Numbers of partitions, and the names of topics that were made just now."""

    events: int
    consumed: int
    made: frozenset[str]


class TopicKeeper:
    """Sees to it that both topics are there. One that is there is taken as it is."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin: AIOKafkaAdminClient | None = None

    async def look(self, when_missing: Callable[[], None]) -> Topics:
        """Makes what is missing, after a call of `when_missing`. Raises one of UNREACHABLE."""
        try:
            admin = await self._connected()
            partitions = await within(ASK_SECONDS, _partitions(admin))
            missing = [name for name, number in partitions.items() if number == 0]
            if missing:
                when_missing()
            made = [name for name in missing if await within(CREATE_SECONDS, self._make(admin, name))]
            async with asyncio.timeout(CREATE_SECONDS):
                while not all(partitions.values()):
                    await asyncio.sleep(_PAUSE_SECONDS)
                    partitions = await within(ASK_SECONDS, _partitions(admin))
        except UNREACHABLE:
            await self.close()
            raise
        return Topics(partitions[EVENTS_TOPIC], partitions[CONSUMED_TOPIC], frozenset(made))

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = AIOKafkaAdminClient(
                bootstrap_servers=self._bootstrap,
                client_id="milepost ship",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
            )
            self._admin = admin
            await within(START_SECONDS, admin.start())
        return self._admin

    async def _make(self, admin: AIOKafkaAdminClient, name: str) -> bool:
        """False when somebody else has made it meanwhile."""
        partitions, settings = LAYOUTS[name]
        topic = NewTopic(name, partitions, 1, topic_configs=dict(settings))
        topic.replication_factor = _BROKERS_DEFAULT  # which the constructor does not let through
        answer = await admin.create_topics([topic])
        ((_, code, reason),) = answer.topic_errors
        error = for_code(code)
        if error is TopicAlreadyExistsError:
            return False
        if code != 0:
            raise error(f"topic {name} cannot be made: {reason}")
        log.warning("topic_made", topic=name, partitions=partitions)
        return True

    async def group_offsets(self) -> dict[int, int]:
        """By partition, up to where ingest says that it need not read the events again. Raises one of UNREACHABLE."""
        admin = await self._connected()
        found = await within(ASK_SECONDS, admin.list_consumer_group_offsets(INGEST_GROUP))
        return {place.partition: said.offset for place, said in found.items() if place.topic == EVENTS_TOPIC}

    async def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(*UNREACHABLE):
                await within(_CLOSE_SECONDS, admin.close())


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """How many partitions each topic has, 0 for one that is not there."""
    # All are asked for: naming one could make a broker create it.
    found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    return {name: found.get(name, 0) for name in LAYOUTS}


class EvidenceReader:
    """Follows the consumed topic from its beginning, and asks where the events' logs end."""

    def __init__(self, bootstrap: str, consumed_partitions: int) -> None:
        self._places = [TopicPartition(CONSUMED_TOPIC, partition) for partition in range(consumed_partitions)]
        self._consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id="milepost ship",
            group_id=None,
            enable_auto_commit=False,
            # What was said is a state, not a sequence: after a loss of the topic its beginning is right.
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Raises one of UNREACHABLE."""
        await within(START_SECONDS, self._consumer.start())
        self._consumer.assign(self._places)

    async def read(self) -> dict[bytes, Consumed]:
        """What was said of each stream last; nothing within half a second is an empty dict, and so is an outage.

        Raises one of UNREACHABLE."""
        found = await within(ASK_SECONDS, self._consumer.getmany(timeout_ms=_POLL_MS))
        said: dict[bytes, Consumed] = {}
        for message in (message for messages in found.values() for message in messages):
            if message.value is None:
                continue
            try:
                said[stream_of(message.key)] = decode_consumed(message.value)
            except UnreadableMessage as error:
                log.error("unreadable_word_of_ingest", offset=message.offset, error=str(error))
        return said

    async def log_ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset that the next message of each partition gets. Raises one of UNREACHABLE."""
        places = [TopicPartition(EVENTS_TOPIC, partition) for partition in partitions]
        ends = await within(ASK_SECONDS, self._consumer.end_offsets(places))
        return {place.partition: end for place, end in ends.items()}

    async def close(self) -> None:
        try:
            await within(_CLOSE_SECONDS, self._consumer.stop())
        except UNREACHABLE:
            # It stopped half-way, and a second call would do nothing.
            with suppress(*UNREACHABLE):
                await within(_CLOSE_SECONDS, self._consumer._client.close())
