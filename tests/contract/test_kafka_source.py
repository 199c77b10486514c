"""Runs the contract of sources on a real broker's log of events. A stream's writer that dies is, in the log, a stream
that its shipper says is finished; the log is read in the background, so what is there is there a moment later."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from aiokafka import AIOKafkaProducer

from management.ingest.batch import DeadLetter
from management.ingest.books import Announced
from management.ingest.sources import Round, Source
from management.ingest.sources.kafka import KafkaSource
from management.ingest.sources.kafka_topics import ensure_topics
from shared import topics
from shared.journal import FIRST_SEQ
from shared.topics import EVENTS_TOPIC, Standing
from tests.contract.source_contract import KIND, SourceContract
from tests.kafka.broker import Broker

CAUGHT_UP_SECONDS = 20.0


class Everything:
    """The share of a process that is alone."""

    held: frozenset[int] = frozenset(range(topics.EVENTS_PARTITIONS))

    async def rebalance(self, partitions: int) -> list[int]:
        return []

    async def release(self, partition: int) -> None:
        pytest.fail("nobody else wants it")


class NoBooks:
    async def store_losses(self, losses: Mapping[bytes, int]) -> None:
        pytest.fail(f"nobody declared a loss: {losses}")

    async def store_announced(self, said: Mapping[bytes, Announced]) -> None:
        pass


class CaughtUp:
    """A source that is asked only when it has read the whole log: what a broker's answer takes is none of its words."""

    def __init__(self, source: KafkaSource, origin: "KafkaOrigin") -> None:
        self._source = source
        self._origin = origin
        self._begun = False

    async def read(self) -> Round:
        if not self._begun:  # with the first call it begins to read
            self._begun = True
            await self._source.read()
        async with asyncio.timeout(CAUGHT_UP_SECONDS):
            while not self._is_there():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return await self._source.read()

    def _is_there(self) -> bool:
        read_to = {int(name): place["read_to"] for name, place in self._source.status["partitions"].items()}
        return all((read_to.get(partition) or 0) >= end for partition, end in self._origin.ends.items())

    async def committed(self, positions: Mapping[bytes, int]) -> None:
        await self._source.committed(positions)

    async def close(self) -> None:
        await self._source.close()


class KafkaOrigin:
    limit = 40

    def __init__(self, bootstrap: str, producer: AIOKafkaProducer) -> None:
        self.ends: dict[int, int] = {}
        self._bootstrap = bootstrap
        self._producer = producer
        self._next: dict[bytes, int] = {}

    async def begin(self) -> bytes:
        stream = secrets.token_bytes(16)
        self._next[stream] = FIRST_SEQ
        return stream

    async def append(self, stream: bytes, payloads: Sequence[bytes]) -> None:
        await self._send(
            stream,
            [topics.encode_record(seq, KIND, payload) for seq, payload in enumerate(payloads, self._next[stream])],
        )
        self._next[stream] += len(payloads)

    async def end(self, stream: bytes) -> None:
        await self._send(stream, [topics.encode_standing(Standing(self._next[stream], 0, True))])

    def open(self, stored: Mapping[bytes, int]) -> Source:
        async def positions(streams: Sequence[bytes]) -> dict[bytes, int]:
            return {stream: stored[stream] for stream in streams if stream in stored}

        async def bury(letters: Sequence[DeadLetter]) -> None:
            pytest.fail(f"all of them can be read: {letters}")

        return CaughtUp(
            KafkaSource(self._bootstrap, Everything(), positions, NoBooks(), bury, records=self.limit), self
        )

    async def _send(self, stream: bytes, values: Sequence[bytes]) -> None:
        partition = topics.partition_of(stream, topics.EVENTS_PARTITIONS)
        sent = [await self._producer.send(EVENTS_TOPIC, value, stream, partition) for value in values]
        acks = await asyncio.gather(*sent)
        self.ends[partition] = acks[-1].offset + 1


class TestKafkaSource(SourceContract):
    @pytest.fixture
    async def origin(self, kafka: Broker) -> AsyncIterator[KafkaOrigin]:
        await ensure_topics(kafka.bootstrap)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        await producer.start()
        yield KafkaOrigin(kafka.bootstrap, producer)
        await producer.stop()
