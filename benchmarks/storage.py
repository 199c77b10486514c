"""How fast are records stored, with everything that storing means, against plain COPY and INSERT of the same rows?

Ours: records are decoded, and facts, deltas and positions stored by management.ingest.writer, one batch decoded while
Postgres stores the one before, as `milepost ingest` does it. The peer gets rows that are binary already: COPY into a
temporary table, INSERT … SELECT … ON CONFLICT DO NOTHING into a table with the same columns and the unique index (or all
of our indexes), and one roll-up upsert, per batch of the same size. Both in this process, on connections of their own.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple, TypeVar

import asyncpg
import uvloop

from benchmarks import plain_store, prepared, speed
from benchmarks.database import Connection, database, emptied
from benchmarks.field import Field
from benchmarks.machine import on_both
from benchmarks.marks import STORE_CORE, STORE_RATIO, Findings
from benchmarks.rounds import BadRun, Spread, heading, shuffled
from benchmarks.speed import Speed, Stopwatch
from management.db.lease import Lease
from management.db.pool import INGEST_ROLE, connect, role_url
from management.ingest import deadletter
from management.ingest.batch import Batch, StreamRead, slices
from management.ingest.writer import Stored, Writer
from shared.events import CLICK
from shared.garbage import collect_rarely
from shared.ids import KeyRing

BATCHES = (500, 2_000, 10_000)
"""Records; `milepost ingest` reads at most 10,000 at once, fewer when fewer wait."""
FULL_ROWS, QUICK_ROWS = 100_000, 20_000
CAMPAIGNS = 200
DECODED_AT_ONCE = 200
PEERS = {plain_store.ONE_INDEX: "plain", plain_store.OUR_INDEXES: "plain, all indexes"}
T = TypeVar("T")


def measure(field: Field) -> Findings:
    """Print the table; gives the marks of the largest batch."""
    rows, rounds = QUICK_ROWS if field.scale.quick else FULL_ROWS, field.scale.behind_rounds
    payloads = prepared.payloads(rows, CAMPAIGNS)
    collect_rarely()  # as ingest does
    ring = KeyRing.generate()
    with ExitStack() as stack:
        stack.enter_context(on_both())
        url = stack.enter_context(database(ring))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        bench = runner.run(Bench.open(url, ring))
        stack.callback(bench.close)
        runs: dict[str, Callable[[], Speed]] = {}
        for size in BATCHES:
            runs[ours(size)] = partial(_run, runner, bench.store, reads(payloads, size), rows)
            for table in PEERS:
                plain = partial(bench.plain, table)
                runs[theirs(size, table)] = partial(_run, runner, plain, plain_store.copies(payloads, size), rows)
        for run in runs.values():  # once, not counted: plans are made, files reserved
            run()
        figures = shuffled(runs, rounds, field.progress, "storing")
        decoding = Spread.of([decoded(payloads) for _ in range(rounds)])
    return _show(figures, f"{rows:,} clicks, {rounds} shuffled rounds", decoding)


def ours(size: int) -> str:
    return f"milepost, {size:,} a batch"


def theirs(size: int, table: str) -> str:
    return f"{PEERS[table]}, {size:,} a batch"


def reads(payloads: Sequence[bytes], size: int) -> list[StreamRead]:
    """The clicks as one stream, in batches."""
    stream = secrets.token_bytes(16)
    return [
        StreamRead(
            stream, first, first + len(some), first > 1, [(seq, CLICK, one) for seq, one in enumerate(some, first)]
        )
        for first, some in plain_store.parts(payloads, size)
    ]


class Bench(NamedTuple):
    """The writer and its backend, and the peer's connection."""

    owner: Connection
    writer: Writer
    connection: Connection
    peer: Connection

    @classmethod
    async def open(cls, url: str, ring: KeyRing) -> "Bench":
        owner = await asyncpg.connect(url)
        await owner.execute(plain_store.TABLES)
        connection, peer = [await connect(role_url(url, INGEST_ROLE, ring), application="bench") for _ in range(2)]
        writer = await Writer.open(connection, await Lease.take(connection, "ingest"))
        await plain_store.prepare(peer)
        return cls(owner, writer, connection, peer)

    def close(self) -> None:
        for connection in (self.owner, self.connection, self.peer):
            connection.terminate()

    async def store(self, batches: Sequence[StreamRead], rows: int) -> Speed:
        await emptied(self.owner)
        watch = Stopwatch([os.getpid()], [self.connection.get_server_pid()])
        storing: asyncio.Task[Stored] | None = None
        for read in batches:
            batch = Batch()
            for piece in slices(read, DECODED_AT_ONCE):
                batch.add(piece)
                await asyncio.sleep(0)
            if storing is not None:
                await storing
            storing = asyncio.create_task(deadletter.store(self.writer, batch))
        if storing is not None:
            await storing
        speed = watch.speed(rows)
        await self._check("clicks", rows)
        await self._check("click_deltas", rows)
        return speed

    async def plain(self, table: str, batches: Sequence[bytes], rows: int) -> Speed:
        await emptied(self.owner)
        watch = Stopwatch([os.getpid()], [self.peer.get_server_pid()])
        await plain_store.store(self.peer, table, batches)
        speed = watch.speed(rows)
        await self._check(table, rows)
        return speed

    async def _check(self, table: str, rows: int) -> None:
        found = await self.owner.fetchval(f"SELECT count(*) FROM {table}")
        if found != rows:
            raise BadRun(f"{found} of {rows} rows are in {table}")


def _run(
    runner: asyncio.Runner,
    work: Callable[[Sequence[T], int], Coroutine[None, None, Speed]],
    batches: Sequence[T],
    rows: int,
) -> Speed:
    os.sync()
    return runner.run(work(batches, rows))


def decoded(payloads: Sequence[bytes]) -> float:
    """Microseconds of processor time that decoding alone takes a click."""
    read = reads(payloads, len(payloads))[0]
    before = time.process_time()
    Batch().add(read)
    return (time.process_time() - before) / len(payloads) * 1e6


def _show(figures: Mapping[str, list[Speed]], title: str, decoding: Spread) -> Findings:
    heading(f"Storing, {title}", speed.COLUMNS)
    for size in BATCHES:
        print(speed.line(ours(size), figures[ours(size)]))
        for table, peer in PEERS.items():
            print(speed.line(theirs(size, table), figures[theirs(size, table)]))
            ratio = speed.ratio(figures[ours(size)], figures[theirs(size, table)])
            print(f"  {'of ' + peer:<30} {ratio.text('.3f'):>28}")
    print(f"  decoding alone: {decoding.text('.1f')} µs of processor time a click")
    largest = BATCHES[-1]
    return {
        STORE_RATIO: speed.ratio(figures[ours(largest)], figures[theirs(largest, plain_store.ONE_INDEX)]).median,
        STORE_CORE: Spread.of([one.a_core for one in figures[ours(largest)]]).median,
    }
