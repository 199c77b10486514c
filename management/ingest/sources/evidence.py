"""The topic on which ingest says how far each stream is stored, and how far it had read when it said so.

Shippers delete and go back by nothing else. One batch is in flight at a time, so that an older word of this process
never follows a newer one; one of another process may, and is harmless: it makes a shipper send again at worst.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from management.ingest.sources.kafka_topics import KafkaUnavailable
from shared.deadline import within
from shared.topics import CONSUMED_TOPIC, EVENTS_TOPIC, Consumed, encode_consumed

START_SECONDS: Final = 10.0
SEND_SECONDS: Final = 5.0
STOP_SECONDS: Final = 2.0
_BATCH_BYTES: Final = 64 << 10
_METADATA_MS: Final = 30_000


class EvidenceTopic:
    """Raises what log_reader.UNREACHABLE lists. Use: open, publish …, close."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        # Not idempotent: a broker that was wiped does not know a former life's numbers, and a repeat does no harm.
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id="milepost-ingest-evidence",
            acks="all",
            enable_idempotence=False,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=int(SEND_SECONDS * 1000),
            metadata_max_age_ms=_METADATA_MS,
        )
        try:
            await within(START_SECONDS, producer.start())
        except BaseException:
            await _stop(producer)
            raise
        self._producer = producer

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def event_partitions(self) -> int:
        """How many partitions the topic of events has."""
        return len(await within(SEND_SECONDS, self._opened().partitions_for(EVENTS_TOPIC)))

    async def publish(self, said: Mapping[bytes, Consumed]) -> None:
        """Stream → what is true of it; on the topic when this returns."""
        producer = self._opened()
        waiting = [(stream, encode_consumed(consumed)) for stream, consumed in said.items()]
        while waiting:
            batch = producer.create_batch()
            taken = 0
            for stream, value in waiting:
                if batch.append(key=stream, value=value, timestamp=None) is None:
                    break
                taken += 1
            del waiting[:taken]
            sent = await within(SEND_SECONDS, producer.send_batch(batch, CONSUMED_TOPIC, partition=0))
            # Not awaited under the deadline: the library goes on with what is given up, and its end is to be heard.
            sent.add_done_callback(_heard)
            done, _ = await asyncio.wait((sent,), timeout=SEND_SECONDS)
            if not done:
                raise TimeoutError
            sent.result()

    def _opened(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise KafkaUnavailable("not connected")
        return self._producer


def _heard(sent: "asyncio.Future[object]") -> None:
    if not sent.cancelled():
        sent.exception()


async def _stop(producer: AIOKafkaProducer) -> None:
    with suppress(TimeoutError, KafkaError, OSError):  # it is given up either way
        await within(STOP_SECONDS, producer.stop())
