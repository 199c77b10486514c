"""How fast do ingest and fold take over what an edge journaled, and is what was sent what is stored and counted?

ingest and fold are stopped (SIGSTOP) while the journal fills and then released one after the other, so each is
measured alone. "A core" is a second of processor time of the process and of its Postgres backend together.
"""

import asyncio
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.progress import Progress

from benchmarks import traffic, wrk
from benchmarks.field import Field
from benchmarks.machine import BOTH, CLIENT_CPU
from benchmarks.marks import Findings
from benchmarks.rounds import BadRun
from shared.journal import StreamReader, streams
from tests.faults.load import Ledger, visit
from tests.stack import Api, Stack, api, running

LONGEST_SECONDS = 240
EXACT_SECONDS = 5.0
# Cheap to ask while the machine works: a count of clicks would take a share of a core itself.
STORED = "SELECT coalesce(sum(next - 1), 0)::integer FROM stream_positions"
TO_FOLD = "SELECT CASE WHEN EXISTS (SELECT FROM click_deltas) THEN 1 ELSE 0 END"
RECORD_HEADER = 21
"""Bytes of a record before its payload: length, magic, CRC, seq, kind."""


@dataclass(frozen=True)
class Speed:
    """Wall and processor seconds that `rows` took."""

    rows: int
    wall: float
    process: float
    backend: float

    def line(self, name: str) -> str:
        together = self.process + self.backend
        return (
            f"  {name:<8} {self.rows:>8} rows {self.wall:>7.1f} s {self.rows / self.wall:>9.0f}/s"
            f" {self.rows / self.process:>11.0f} {self.rows / self.backend:>11.0f} {self.rows / together:>11.0f}"
        )


def measure(field: Field) -> Findings:
    """Start the whole product (`milepost up`, embedded servers), print the tables; there is no mark for them."""
    os.sched_setaffinity(0, BOTH)
    try:
        with (
            tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
            running(Path(folder) / "data") as stack,
        ):
            asyncio.run(_measure(stack, field))
    finally:
        os.sched_setaffinity(0, {CLIENT_CPU})
    return {}


async def _measure(stack: Stack, field: Field) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(
            cost_model="cpc", cost_value=0.5, traffic_source_id=1, destination_url=traffic.DESTINATION
        )
        for part in ("ingest", "fold"):
            os.kill(stack.pid(part), signal.SIGSTOP)
        load = wrk.Load(path=f"/c/{campaign['uuid']}")
        port = int(stack.edge_url.rpartition(":")[2])
        await asyncio.to_thread(wrk.drive, port, load, field.scale.chain_seconds, 1)
        clicks, size = journal_bytes(stack)
        print(f"\nJournal: {clicks} clicks, {size / clicks:.0f} bytes a click")

        ingest = await until(stack, "ingest", STORED, clicks, clicks, field.progress)
        fold = await until(stack, "fold", TO_FOLD, 0, clicks, field.progress)
        print("\nIngest and fold, each alone               wall     per second of: process,    backend,        both")
        print(ingest.line("ingest"))
        print(fold.line("fold"))

        counted = (await client.wait_clicks(clicks))["clicks"]
        print(f"\nWhole chain: journaled {clicks} = stored {clicks} = counted {counted}")
        sent, answered, stored, shown = await exact(stack, client, campaign["uuid"])
        verdict = "" if sent == answered == stored == shown else "   THE CHAIN DOES NOT ADD UP"
        print(f"             sent {sent} = answered {answered} = stored {stored} = counted {shown}{verdict}")


def journal_bytes(stack: Stack) -> tuple[int, int]:
    """Clicks in the journal and the bytes of their records."""
    clicks = size = 0
    for path in streams(stack.data_dir / "journal"):
        reader = StreamReader(path, 0)
        while (batch := reader.read(50_000, 64 << 20)).records:
            clicks += len(batch.records)
            size += sum(len(payload) + RECORD_HEADER for _, _, payload in batch.records)
    return clicks, size


async def until(stack: Stack, part: str, query: str, goal: int, rows: int, progress: Progress) -> Speed:
    """Release `part` and wait until `query` gives `goal`; what it took."""
    async with stack.database() as connection:
        process = psutil.Process(stack.pid(part))
        before, started = _cpu(process), time.monotonic()
        backends = await _backend_cpu(connection, part)
        os.kill(process.pid, signal.SIGCONT)
        task = progress.add_task(part, total=rows)
        while True:
            value = await connection.fetchval(query)
            progress.update(task, completed=rows if value == goal else value)
            if value == goal:
                break
            if time.monotonic() - started > LONGEST_SECONDS:
                raise BadRun(f"{part} stands at {value} of {goal}")
            await asyncio.sleep(0.1)
        progress.remove_task(task)
        wall = time.monotonic() - started
        used = await _backend_cpu(connection, part) - backends
        return Speed(rows, wall, _cpu(process) - before, used)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _backend_cpu(connection: "object", part: str) -> float:
    rows = await connection.fetch(  # type: ignore[attr-defined]
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"milepost {part}"
    )
    return sum(_cpu(psutil.Process(row["pid"])) for row in rows)


async def exact(stack: Stack, client: Api, uuid: str) -> tuple[int, int, int, int]:
    """Drive clients that remember every answer: sent, answered, stored and counted, which must be equal."""
    before = (await client.stats())["clicks"]
    ledger, stop = Ledger(), asyncio.Event()
    clients = [asyncio.create_task(visit(stack.edge_url, uuid, ledger, stop, seed)) for seed in range(16)]
    await asyncio.sleep(EXACT_SECONDS)
    stop.set()
    await asyncio.gather(*clients)
    answered = len(ledger.clicks)
    counted = (await client.wait_clicks(before + answered))["clicks"] - before
    async with stack.database() as connection:
        stored = await connection.fetchval("SELECT count(*) FROM clicks") - before
    return answered + ledger.unanswered_clicks, answered, stored, counted
