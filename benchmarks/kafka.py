"""A real broker for one question, and journals whose streams lie in partitions of their own."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.machine import Missing
from benchmarks.rounds import BadRun
from management.ingest.sources.kafka_topics import ensure_topics
from shared.events import CLICK
from shared.journal import JournalWriter
from shared.topics import EVENTS_PARTITIONS, EVENTS_TOPIC, partition_of
from tests.kafka.broker import SCRIPTS, Broker
from tests.kafka.topics import delete_records, end_offsets

_APPENDED_AT_ONCE = 2_000


@contextmanager
def running_broker() -> Iterator[Broker]:
    """A started broker with both topics, its data on this folder's disk, until the block ends. Raises Missing."""
    fetched = (SCRIPTS / "lib" / ".complete").exists()
    for program, package, needed in (("java", "default-jre-headless", True), ("mvn", "maven", not fetched)):
        if needed and shutil.which(program) is None:
            raise Missing(f"a Kafka broker needs {program}. On Debian type: sudo apt-get install -y {package}")
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-", ignore_cleanup_errors=True) as folder,
        Broker(Path(folder)) as broker,
    ):
        broker.start()
        asyncio.run(ensure_topics(broker.bootstrap))
        yield broker


async def emptied(bootstrap: str) -> None:
    """Nothing in the events topic. It is not made anew, because new partitions are without a leader for some time."""
    for partition, end in (await end_offsets(bootstrap, EVENTS_TOPIC)).items():
        if end:
            await delete_records(bootstrap, EVENTS_TOPIC, partition, end)


class Log:
    """How far the events topic goes."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(EVENTS_TOPIC, number) for number in range(EVENTS_PARTITIONS)]

    @classmethod
    @asynccontextmanager
    async def of(cls, bootstrap: str) -> AsyncIterator["Log"]:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            yield cls(consumer)
        finally:
            await consumer.stop()

    async def messages(self) -> int:
        """In all partitions together, since the topic was made."""
        return sum((await self._consumer.end_offsets(self._partitions)).values())

    async def until(self, messages: int, seconds: float) -> None:
        """Until there are so many. Raises BadRun."""
        deadline = time.monotonic() + seconds
        while (found := await self.messages()) < messages:
            if time.monotonic() > deadline:
                raise BadRun(f"{found} of {messages} messages are in Kafka after {seconds:.0f} s")
            await asyncio.sleep(0.02)


async def write_journal(root: Path, payloads: Sequence[bytes], streams: int) -> list[int]:
    """The clicks as `streams` finished streams of about the same length; the partition of each."""
    partitions: list[int] = []
    while len(partitions) < streams:
        failures: list[BaseException] = []
        writer = JournalWriter.open(root, "os", on_failure=failures.append)
        partition = partition_of(writer.stream, EVENTS_PARTITIONS)
        if partition in partitions:
            await writer.close()
            shutil.rmtree(root / writer.stream.hex())
            continue
        share = payloads[len(partitions) :: streams]
        for first in range(0, len(share), _APPENDED_AT_ONCE):
            await asyncio.gather(*(writer.append(CLICK, one) for one in share[first : first + _APPENDED_AT_ONCE]))
        await writer.close()
        if failures:
            raise failures[0]
        partitions.append(partition)
    return partitions
