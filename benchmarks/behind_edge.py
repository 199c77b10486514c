"""A broker, the network to it and a shipper behind an edge, and the faults of the first two.

All of it has a lower priority than the client on the processor that they share, so that the client seldom waits for it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import orjson

from benchmarks.kafka import running_broker
from benchmarks.parts import running_shipper
from benchmarks.rounds import BadRun
from edge.shipper.progress import LOG_LOST, TOPIC_GONE
from shared.data_dir import DataDir
from shared.journal import StreamReader, streams
from shared.topics import EVENTS_PARTITIONS, EVENTS_TOPIC, Consumed, partition_of
from tests.integration.shipper.harness import say
from tests.kafka.broker import Broker
from tests.kafka.proxy import Fault as Wire
from tests.kafka.proxy import Proxy
from tests.kafka.topics import end_offsets

NICE: Final = 5
DELAY_SECONDS: Final = 0.6
"""For every piece, in each direction."""
CATCH_UP_SECONDS: Final = 60.0
SAID_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.02
_READ_AT_ONCE: Final = 5_000
T = TypeVar("T")


class Standing(NamedTuple):
    """What the shipper says of itself. `shipped`: records that the broker acknowledged, again or for the first time, of
    which `resent` again; `lost`: so often it found the broker's log gone and began again where ingest stands."""

    shipped: int
    resent: int
    unsent: int
    lost: int
    reached: bool

    def brought(self, records: int) -> bool:
        """Whether the broker has so many records."""
        return self.reached and self.unsent == 0 and self.shipped - self.resent >= records


class BehindEdge:
    """The parts, started; their faults. Its methods block, for as long as a broker takes."""

    def __init__(self, data_dir: DataDir, broker: Broker, network: Proxy, aside: ThreadPoolExecutor) -> None:
        self.broker = broker
        self._journaled = 0
        self._data_dir = data_dir
        self._network = network
        self._aside = aside

    @classmethod
    @contextmanager
    def running(cls, data_dir: DataDir) -> Iterator["BehindEdge"]:
        """Until the block ends; the shipper has met the broker, and reaches it through the network that fails."""
        # A thread has a priority of its own, and what it starts has the same.
        with ThreadPoolExecutor(1, initializer=os.nice, initargs=(NICE,)) as aside, ExitStack() as stack:

            def enter() -> "BehindEdge":
                broker = stack.enter_context(running_broker())
                _put_aside(broker)
                network = stack.enter_context(broker.proxy())
                stack.enter_context(running_shipper(data_dir.root, network.address))
                return cls(data_dir, broker, network, aside)

            yield aside.submit(enter).result()

    # Faults: each is there when its method returns, until `heal`

    def kill(self) -> None:
        self._run(self.broker.kill)

    def freeze(self) -> None:
        self._run(self.broker.freeze)

    def wipe(self) -> None:
        """A new broker answers that has none of the records, and no topic."""
        self._run(self.broker.wipe)
        self._start()

    def delay(self) -> None:
        self._run(partial(self._network.delay, DELAY_SECONDS))

    def cut(self, wire: Wire) -> None:
        self._run(partial(self._network.set, wire))

    def heal(self) -> None:
        """Broker and network are as they should be."""
        self._run(self._network.heal)
        self._start()

    def _start(self) -> None:
        self._run(self.broker.start)
        _put_aside(self.broker)

    # What is known of the records

    def journaled(self) -> int:
        """Records in the edge's journal."""
        with StreamReader(self._stream, self._journaled + 1) as reader:
            while records := reader.read(_READ_AT_ONCE, _READ_AT_ONCE << 10).records:
                self._journaled = records[-1][0]
        return self._journaled

    def standing(self) -> Standing:
        """What the shipper said last; it says it each second."""
        status = orjson.loads(self._status.read_bytes())
        lost = sum(times for reason, times in status["went_back"].items() if reason in (LOG_LOST, TOPIC_GONE))
        return Standing(
            status["shipped"], status["resent"], status["unsent_records"], lost, status["kafka"] == "reached"
        )

    def standing_now(self) -> Standing:
        """Not older than this call. Raises BadRun."""
        now, deadline = time.time(), time.monotonic() + SAID_SECONDS
        while self._status.stat().st_mtime <= now:
            if time.monotonic() > deadline:
                raise BadRun(f"the shipper says nothing for {SAID_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
        return self.standing()

    def caught_up(self) -> Standing:
        """Wait until the broker has all records of an edge that stands still. Raises BadRun."""
        records, deadline = self.journaled(), time.monotonic() + CATCH_UP_SECONDS
        while not (standing := self.standing()).brought(records):
            if time.monotonic() > deadline:
                raise BadRun(f"the shipper does not catch up with {records:,} records: {standing}")
            time.sleep(_LOOK_SECONDS)
        return standing

    def store(self) -> None:
        """Tell the shipper, as ingest would, that all records are stored: it never sends them again."""
        self._run(lambda: asyncio.run(self._say_stored(self.journaled())))

    async def _say_stored(self, records: int) -> None:
        stream = bytes.fromhex(self._stream.name)
        partition = partition_of(stream, EVENTS_PARTITIONS)
        end = (await end_offsets(self.broker.bootstrap, EVENTS_TOPIC))[partition]
        await say(self.broker.bootstrap, {stream: Consumed(records + 1, partition, end)})

    @property
    def _status(self) -> Path:
        return self._data_dir.ship_status

    @property
    def _stream(self) -> Path:
        (stream,) = streams(self._data_dir.journal)
        return stream

    def _run(self, work: Callable[[], T]) -> T:
        return self._aside.submit(work).result()


def _put_aside(broker: Broker) -> None:
    # It has a session of its own, and where the kernel groups by session these have priorities as well.
    group = Path(f"/proc/{broker.pid}/autogroup")
    if group.exists():
        group.write_text(f"{NICE}")
