"""The way into the events topic: one producer at a time, and what becomes of one that is stuck."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from edge.shipper.asking import REQUEST_TIMEOUT_MS, START_SECONDS, UNREACHABLE
from shared.deadline import within
from shared.topics import EVENTS_TOPIC

BATCH_BYTES: Final = 640 * 1024
"""A batch is closed at some 470 KiB (see edge.shipper.packing); this is what its last record may make of it."""
SEND_SECONDS: Final = 10.0
"""A batch that is not acknowledged by then is read again from the journal, and its producer is given up."""
_CLOSE_SECONDS: Final = 30.0

Batch = Any
"""aiokafka's BatchBuilder."""


class NotSent(Exception):
    """Nobody knows whether the batch is in the log; the text says why."""


class _Producer(AIOKafkaProducer):  # type: ignore[misc]
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.dropped = asyncio.Event()

    async def give_up(self) -> None:
        """Ends it although batches may be on their way. Those of an idempotent producer never expire, so that `stop`
        would wait for as long as the broker is away: from here on they do, REQUEST_TIMEOUT_MS after they began."""
        self._sender._txn_manager = None
        await self.stop()


class EventsProducer:
    """Made anew by `connect` after each `drop`; several tasks may use it, one a partition."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: _Producer | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._producer is not None

    async def connect(self) -> None:
        """Raises one of UNREACHABLE."""
        producer = _Producer(
            bootstrap_servers=self._bootstrap,
            client_id="milepost ship",
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * BATCH_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await within(START_SECONDS, producer.start())
        except BaseException:
            self._close(producer)
            raise
        self._producer = producer

    def batch(self) -> Batch:
        """An empty batch for `send`. Only while connected."""
        assert self._producer is not None
        return self._producer.create_batch()

    async def send(self, batch: Batch, partition: int) -> int:
        """The offset of the batch's first message, once the broker acknowledged it. Raises NotSent."""
        producer = self._producer
        if producer is None:
            raise NotSent("the producer was given up")
        try:
            base_offset = await within(SEND_SECONDS, _acknowledged(producer, batch, partition))
        except TimeoutError:
            self._drop(producer)
            raise NotSent(f"not acknowledged within {SEND_SECONDS:g} s") from None
        except (
            KafkaError,
            OSError,
            AssertionError,
        ) as error:  # AssertionError: the topic has no such partition any more
            self._drop(producer)
            raise NotSent(str(error) or type(error).__name__) from error
        if base_offset < 0:
            # The broker has the batch, by its number, but no longer knows where.
            self._drop(producer)
            raise NotSent("acknowledged without an offset")
        return base_offset

    def drop(self) -> None:
        """Gives up the present producer. After a broker lost its log this must be done: its new producers may get
        the ids of old ones, and what two of them send under one id is taken for repeats."""
        if self._producer is not None:
            self._drop(self._producer)

    def _drop(self, producer: _Producer) -> None:
        if self._producer is producer:
            self._producer = None
            producer.dropped.set()
            self._close(producer)

    def _close(self, producer: _Producer) -> None:
        closing = asyncio.create_task(self._given_up(producer))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _given_up(self, producer: _Producer) -> None:
        with suppress(*UNREACHABLE):
            await within(_CLOSE_SECONDS, producer.give_up())

    async def close(self, seconds: float) -> None:
        """Ends every producer; what is not ended within `seconds` ends with the loop."""
        self.drop()
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=seconds)


async def _acknowledged(producer: _Producer, batch: Batch, partition: int) -> int:
    """The batch's offset. Raises NotSent when the producer is given up first."""
    acknowledged = await producer.send_batch(batch, EVENTS_TOPIC, partition=partition)
    # What becomes of it later, nobody needs to know.
    acknowledged.add_done_callback(lambda late: late.cancelled() or late.exception())
    dropped = asyncio.create_task(producer.dropped.wait())
    try:
        await asyncio.wait((acknowledged, dropped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        dropped.cancel()
    if not acknowledged.done():
        raise NotSent("the producer was given up")
    return int(acknowledged.result().offset)
