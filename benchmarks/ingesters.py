"""What does a second `milepost ingest` add, when both take records from Kafka and store them in one Postgres?

The topic is full, spread evenly over all partitions, before the processes start. Counted is from the moment the
partitions are shared evenly until everything is stored, and only what was stored in that time. On two processors two
processes and their two backends share what one process and its backend have alone.
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks import kafka, prepared, speed
from benchmarks.database import Connection, database, emptied
from benchmarks.field import Field
from benchmarks.kafka import running_broker
from benchmarks.machine import on_both
from benchmarks.marks import TWO_INGESTERS, Findings
from benchmarks.parts import running_part
from benchmarks.rounds import BadRun, heading, shuffled
from benchmarks.speed import Speed, Stopwatch
from shared.events import CLICK
from shared.ids import KeyRing
from shared.topics import EVENTS_PARTITIONS, EVENTS_TOPIC, encode_record
from tests.kafka.broker import Broker

FULL_ROWS, QUICK_ROWS = 240_000, 36_000
CAMPAIGNS = 200
PROCESSES = (1, 2)
LONGEST_SECONDS = 240.0
SHARED_SECONDS = 30.0
BATCH_BYTES = 128 * 1024
HOLDERS = """
SELECT activity.pid, count(*) AS partitions
FROM leases JOIN pg_stat_activity AS activity ON activity.pid = leases.backend_pid
     AND activity.backend_start = leases.backend_start
WHERE leases.name LIKE 'ingest.partition.%' GROUP BY 1
"""
# Cheap to ask while the machine works: a count of clicks would take a share of a core itself.
STORED = "SELECT coalesce(sum(next - 1), 0)::bigint FROM stream_positions"


def measure(field: Field) -> Findings:
    """Print the table; gives the mark of two processes against one."""
    rows, rounds = QUICK_ROWS if field.scale.quick else FULL_ROWS, field.scale.behind_rounds
    ring = KeyRing.generate()
    with ExitStack() as stack:
        stack.enter_context(on_both())
        broker = stack.enter_context(running_broker())
        url = stack.enter_context(database(ring))
        payloads = prepared.payloads(rows, CAMPAIGNS)
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        owner = runner.run(_connected(url))
        stack.callback(owner.terminate)

        def run(processes: int) -> Speed:
            runner.run(_fill(owner, broker, payloads))
            os.sync()
            with ExitStack() as started:
                folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
                pids = [
                    started.enter_context(
                        running_part(
                            "management.cli ingest", folder / str(number),
                            DATABASE_URL=url, SECRET_KEYS=ring.to_text(), KAFKA_BOOTSTRAP=broker.bootstrap,
                        )
                    ).pid
                    for number in range(processes)
                ]  # fmt: skip
                return runner.run(_ingested(owner, pids, rows))

        runs = {_name(number): partial(run, number) for number in PROCESSES}
        figures = shuffled(runs, rounds, field.progress, "ingest processes")
    title = f"Kafka into Postgres, {rows:,} clicks, {EVENTS_PARTITIONS} partitions, {os.cpu_count()} processors"
    heading(f"{title}, {rounds} shuffled rounds", speed.COLUMNS)
    one, two = (figures[_name(number)] for number in PROCESSES)
    print(speed.line(_name(1), one))
    print(speed.line(_name(2), two))
    ratio = speed.ratio(two, one)
    print(f"  {'of one':<30} {ratio.text('.3f'):>28}   (1.6 is asked for where there are 3 processors and more)")
    return {TWO_INGESTERS: ratio.median}


def _name(processes: int) -> str:
    return f"{processes} process{'es' if processes > 1 else ''}"


async def _connected(url: str) -> Connection:
    return await asyncpg.connect(url)


async def _fill(owner: Connection, broker: Broker, payloads: Sequence[bytes]) -> None:
    """Empty tables, and a topic with the payloads alone, as one stream a partition."""
    await emptied(owner)
    await kafka.emptied(broker.bootstrap)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True, acks="all", compression_type="zstd",
        max_batch_size=BATCH_BYTES,
    )  # fmt: skip
    await producer.start()

    async def send(partition: int) -> None:
        # A stream's partition is partition_of its id, which here is chosen to fit.
        stream = (secrets.randbits(40) * EVENTS_PARTITIONS + partition).to_bytes(8, "big") + secrets.token_bytes(8)
        records = [encode_record(seq, CLICK, one) for seq, one in enumerate(payloads[partition::EVENTS_PARTITIONS], 1)]
        place = 0
        while place < len(records):
            batch = producer.create_batch()
            while place < len(records) and batch.append(timestamp=None, key=stream, value=records[place]) is not None:
                place += 1
            batch.close()
            await (await producer.send_batch(batch, EVENTS_TOPIC, partition=partition))

    try:
        await asyncio.gather(*map(send, range(EVENTS_PARTITIONS)))
    finally:
        await producer.stop()


async def _ingested(owner: Connection, pids: list[int], rows: int) -> Speed:
    backends = await _shared(owner, len(pids))
    before, watch = await owner.fetchval(STORED), Stopwatch(pids, backends)
    deadline = time.monotonic() + LONGEST_SECONDS
    while (stored := await owner.fetchval(STORED)) < rows:
        if time.monotonic() > deadline:
            raise BadRun(f"{stored} of {rows} rows are stored")
        await asyncio.sleep(0.05)
    taken = watch.speed(rows - before)
    found = await owner.fetchval("SELECT count(*) FROM clicks")
    if found != rows:
        raise BadRun(f"{rows} records, {found} clicks")
    if before > rows / 2:
        raise BadRun(f"{before} of {rows} rows were stored before the partitions were shared")
    return taken


async def _shared(owner: Connection, processes: int) -> list[int]:
    """Once each process holds its share of the partitions: their backends."""
    holders: list[asyncpg.Record] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(SHARED_SECONDS):
            while True:
                holders = await owner.fetch(HOLDERS)
                shares = [row["partitions"] for row in holders]
                if len(shares) == processes and sum(shares) == EVENTS_PARTITIONS and max(shares) - min(shares) <= 1:
                    return [row["pid"] for row in holders]
                await asyncio.sleep(0.02)
    raise BadRun(f"the partitions are not shared evenly after {SHARED_SECONDS:.0f} s: {holders}")
