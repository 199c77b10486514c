"""What shippers leave in the log of events, put there by the tests themselves, and what Postgres holds afterwards."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaProducer

from management.ingest.sources.log_reader import Hint, LogReader
from shared import topics
from shared.data_dir import DataDir
from shared.events import Event
from shared.journal import FIRST_SEQ
from shared.topics import CONSUMED_TOPIC, EVENTS_PARTITIONS, EVENTS_TOPIC, Consumed
from tests.ingest_builders import kind_of, payload
from tests.kafka.topics import everything

FACTS = ("clicks", "click_deltas", "postbacks", "postback_deltas", "strangers", "dead_letters", "lost_records")
_BATCH = 500


def new_stream(partition: int | None = None) -> bytes:
    """A stream's id; one that belongs to `partition`, where that is given."""
    while True:
        stream = secrets.token_bytes(16)
        if partition is None or partition_of(stream) == partition:
            return stream


def partition_of(stream: bytes) -> int:
    return topics.partition_of(stream, EVENTS_PARTITIONS)


def records(events: Iterable[Event], first: int = FIRST_SEQ) -> list[bytes]:
    """Messages of a stream's records, the first of which has the seq `first`."""
    return [topics.encode_record(seq, kind_of(event), payload(event)) for seq, event in enumerate(events, first)]


class Log:
    """Sends to the events topic, each stream to its partition."""

    def __init__(self, bootstrap: str, producer: AIOKafkaProducer) -> None:
        self.bootstrap = bootstrap
        self._producer = producer

    @classmethod
    @asynccontextmanager
    async def of(cls, bootstrap: str) -> AsyncIterator["Log"]:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=128 << 10)
        await producer.start()
        try:
            yield cls(bootstrap, producer)
        finally:
            await producer.stop()

    async def send(self, stream: bytes, messages: Sequence[bytes]) -> list[int]:
        """Give the offsets, once all are acknowledged."""
        partition = partition_of(stream)
        offsets: list[int] = []
        for place in range(0, len(messages), _BATCH):
            some = messages[place : place + _BATCH]
            sent = [await self._producer.send(EVENTS_TOPIC, value, stream, partition) for value in some]
            offsets += [ack.offset for ack in await asyncio.gather(*sent)]
        return offsets

    async def send_raw(self, partition: int, key: bytes | None, value: bytes | None) -> int:
        ack = await self._producer.send_and_wait(EVENTS_TOPIC, value, key, partition)
        offset: int = ack.offset
        return offset

    async def forget_where_ingest_stood(self) -> None:
        """No offset is kept; whoever reads next begins at the beginning."""
        reader = LogReader(self.bootstrap)
        await reader.commit(dict.fromkeys(range(EVENTS_PARTITIONS), Hint(0, "")))
        await reader.close()

    async def hints(self) -> dict[int, int]:
        """Where ingest would begin."""
        return {partition: hint.offset for partition, hint in (await LogReader(self.bootstrap).hints()).items()}

    async def evidence(self) -> dict[bytes, list[Consumed]]:
        """Everything that ingest said, by stream, in order."""
        said: dict[bytes, list[Consumed]] = {}
        for message in await everything(self.bootstrap, CONSUMED_TOPIC):
            said.setdefault(message.key, []).append(topics.decode_consumed(message.value))
        return said

    async def until_said(self, stream: bytes, wanted: Consumed, seconds: float = 20.0) -> None:
        """Until the last word about the stream is `wanted`, or that and an offset further on."""
        last: list[Consumed] = []
        try:
            async with asyncio.timeout(seconds):
                while not last or last[-1]._replace(offset=min(last[-1].offset, wanted.offset)) != wanted:
                    await asyncio.sleep(0.1)
                    last = (await self.evidence()).get(stream, [])
        except TimeoutError:
            raise AssertionError(f"{wanted} was not the last of {last}") from None


async def digest(owner: asyncpg.Connection) -> dict[str, str]:
    """Of every table of facts and effects, and of the positions: a digest of all its rows."""
    found = {}
    for table in (*FACTS, "stream_positions"):
        rows = await owner.fetch(f"SELECT t::text AS row FROM {table} AS t ORDER BY 1")
        found[table] = hashlib.sha256("\n".join(row["row"] for row in rows).encode()).hexdigest()
    return found


async def counts(owner: asyncpg.Connection) -> dict[str, int]:
    return {table: await owner.fetchval(f"SELECT count(*) FROM {table}") for table in FACTS}


async def positions(owner: asyncpg.Connection) -> dict[bytes, int]:
    return {row["stream"]: row["next"] for row in await owner.fetch("SELECT stream, next FROM stream_positions")}


async def until_stored(owner: asyncpg.Connection, wanted: dict[bytes, int], seconds: float = 60.0) -> None:
    """Until the streams stand at these positions."""
    found: dict[bytes, int] = {}
    try:
        async with asyncio.timeout(seconds):
            while found != wanted:
                await asyncio.sleep(0.02)
                found = await positions(owner)
    except TimeoutError:
        missing = {stream.hex(): (found.get(stream), at) for stream, at in wanted.items() if found.get(stream) != at}
        raise AssertionError(f"found and wanted: {missing}") from None


async def assert_each_once(owner: asyncpg.Connection, clicks: int) -> None:
    """So many clicks and nothing else, each with its effect, each (stream, seq) once, and the books add up."""
    expected = dict.fromkeys(FACTS, 0) | {"clicks": clicks, "click_deltas": clicks}
    assert await counts(owner) == expected
    assert await owner.fetchval("SELECT count(DISTINCT (stream, seq)) FROM clicks") == clicks
    assert await owner.fetch("SELECT * FROM books WHERE difference <> 0") == []


def status(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(DataDir.at(data_dir).ingest_status.read_bytes())
    return found
