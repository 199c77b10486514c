"""How many events a second does the shipper bring from the journal into Kafka, against bare aiokafka?

The real process `python -m edge.shipper` stands beside an empty journal until it has met the broker; then finished
streams, copied from one prepared journal, are renamed into it, each of a partition of its own. The peer has the same
payloads in memory and sends them with `send_batch` (idempotent, acks=all, zstd, 128 KiB), one task a partition.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks import prepared, speed
from benchmarks.field import Field
from benchmarks.kafka import Log, emptied, running_broker, write_journal
from benchmarks.machine import on_both
from benchmarks.marks import SHIPPER_CORE, Findings
from benchmarks.parts import running_shipper
from benchmarks.rounds import BadRun, Spread, heading, shuffled
from benchmarks.speed import Speed, Stopwatch
from shared import topics
from shared.data_dir import DataDir
from shared.journal import streams
from tests.kafka.broker import Broker
from tests.kafka.topics import everything

FULL_EVENTS, QUICK_EVENTS = 120_000, 12_000
STREAMS = (1, 4)
"""One worker's journal, and those of four."""
CAMPAIGNS = 200
BATCH_BYTES = 128 * 1024
LONGEST_SECONDS = 120.0


class Prepared(NamedTuple):
    """One journal: the folder of its streams, their partitions, and the payloads of each as the peer has them."""

    root: Path
    partitions: list[int]
    shares: list[Sequence[bytes]]


def measure(field: Field) -> Findings:
    """Print the table; gives the mark of four streams."""
    events, rounds = QUICK_EVENTS if field.scale.quick else FULL_EVENTS, field.scale.behind_rounds
    with ExitStack() as stack:
        stack.enter_context(on_both())
        broker = stack.enter_context(running_broker())
        payloads = prepared.payloads(events, CAMPAIGNS)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-")))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runs: dict[str, Callable[[], Speed]] = {}
        for number in STREAMS:
            root = folder / f"prepared-{number}"
            partitions = runner.run(write_journal(root, payloads, number))
            journal = Prepared(root, partitions, [payloads[first::number] for first in range(number)])
            runs[_name("shipper", number)] = partial(_run, runner, broker, ship, journal, events)
            runs[_name("aiokafka", number)] = partial(_run, runner, broker, plain, journal, events)
        for run in runs.values():  # once, not counted: the broker's code gets warm
            run()
        figures = shuffled(runs, rounds, field.progress, "shipper")
    size = sum(map(len, payloads)) / events
    title = f"Journal into Kafka, {events:,} clicks of {size:.0f} bytes, {rounds} shuffled rounds"
    heading(
        title, speed.COLUMNS.replace("backend", " broker").replace("rows/s", "events/s").replace(" (min", "(min", 1)
    )
    for number in STREAMS:
        ours, theirs = figures[_name("shipper", number)], figures[_name("aiokafka", number)]
        print(speed.line(_name("shipper", number), ours))
        print(speed.line(_name("aiokafka", number), theirs))
        print(f"  {'of aiokafka':<30} {speed.ratio(ours, theirs).text('.3f'):>28}")
    return {SHIPPER_CORE: Spread.of([one.a_core for one in figures[_name("shipper", STREAMS[-1])]]).median}


def _name(who: str, number: int) -> str:
    return f"{who}, {number} stream{'s' if number > 1 else ''}"


def _run(
    runner: asyncio.Runner,
    broker: Broker,
    work: Callable[[Broker, Prepared, int], Coroutine[None, None, Speed]],
    journal: Prepared,
    events: int,
) -> Speed:
    runner.run(emptied(broker.bootstrap))
    os.sync()
    taken = runner.run(work(broker, journal, events))
    runner.run(_check(broker, events, whole=work is plain))
    return taken


async def ship(broker: Broker, journal: Prepared, events: int) -> Speed:
    with tempfile.TemporaryDirectory(dir=journal.root.parent) as name:
        data_dir = Path(name)
        waiting = data_dir / "waiting"
        shutil.copytree(journal.root, waiting)
        os.sync()
        async with Log.of(broker.bootstrap) as log:
            with running_shipper(data_dir, broker.bootstrap) as process:
                before, watch = await log.messages(), Stopwatch([process.pid], [broker.pid])
                for path in streams(waiting):
                    path.rename(DataDir.at(data_dir).journal / path.name)
                await log.until(before + events, LONGEST_SECONDS)
                return watch.speed(events)


async def plain(broker: Broker, journal: Prepared, events: int) -> Speed:
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True, acks="all", compression_type="zstd",
        max_batch_size=BATCH_BYTES,
    )  # fmt: skip
    await producer.start()
    keys = [path.name.encode()[:16] for path in streams(journal.root)]
    try:
        watch = Stopwatch([os.getpid()], [broker.pid])
        await asyncio.gather(*map(partial(_send, producer), keys, journal.partitions, journal.shares))
        return watch.speed(events)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, key: bytes, partition: int, payloads: Sequence[bytes]) -> None:
    """Each batch is acknowledged before the next one, so that order is kept."""
    place = 0
    while place < len(payloads):
        batch = producer.create_batch()
        while place < len(payloads) and batch.append(timestamp=None, key=key, value=payloads[place]) is not None:
            place += 1
        batch.close()
        await (await producer.send_batch(batch, topics.EVENTS_TOPIC, partition=partition))


async def _check(broker: Broker, events: int, *, whole: bool) -> None:
    """Every event is in Kafka, and none twice. `whole`: messages are payloads."""
    found = [record.value for record in await everything(broker.bootstrap, topics.EVENTS_TOPIC)]
    if not whole:
        found = [message.payload for message in map(topics.decode, found) if isinstance(message, topics.Record)]
    if not len(found) == len(set(found)) == events:
        raise BadRun(f"{events} events, {len(found)} in Kafka, {len(set(found))} of them different")
