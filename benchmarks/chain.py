"""How fast do ingest and fold take over what an edge journaled, and is what was sent what is stored and counted?

ingest and fold are stopped (SIGSTOP) while the journal fills and then released one after the other, so each is
measured alone. kafka_chain.py asks the same with Kafka between the journal and ingest.
"""

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

from rich.progress import Progress

from benchmarks import speed, traffic, wrk
from benchmarks.field import Field
from benchmarks.machine import on_both
from benchmarks.marks import Findings
from benchmarks.rounds import BadRun, heading
from benchmarks.speed import Speed, Stopwatch
from shared.journal import StreamReader, streams
from tests.faults.load import Ledger, visit
from tests.stack import Api, Stack, api, running

LONGEST_SECONDS = 240
EXACT_SECONDS = 5.0
# Cheap to ask while the machine works: a count of clicks would take a share of a core itself.
STORED = "SELECT coalesce(sum(next - 1), 0)::integer FROM stream_positions"
TO_FOLD = "SELECT CASE WHEN EXISTS (SELECT FROM click_deltas) THEN 1 ELSE 0 END"
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"
ODD = "   THE CHAIN DOES NOT ADD UP"
RECORD_HEADER = 21
"""Bytes of a record before its payload: length, magic, CRC, seq, kind."""


def measure(field: Field) -> Findings:
    """Start the whole product (`milepost up`, embedded servers), print the tables; there is no mark for them."""
    with (
        on_both(),
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        running(Path(folder) / "data") as stack,
    ):
        asyncio.run(drive(stack, field, "journal to ingest"))
    return {}


async def drive(stack: Stack, field: Field, way: str) -> None:
    """Send, let ingest and fold take it over, count; `way` says how records come to ingest."""
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
        heading(f"Whole chain, {way}: {clicks} clicks in the journal, {size / clicks:.0f} bytes a click", speed.COLUMNS)

        ingest = await until(stack, "ingest", STORED, clicks, clicks, field.progress)
        print(speed.line("ingest alone", [ingest]))
        fold = await until(stack, "fold", TO_FOLD, 0, clicks, field.progress)
        print(speed.line("fold alone", [fold]))

        counted = (await client.wait_clicks(clicks))["clicks"]
        verdict = "" if counted == clicks else ODD
        print(f"  journaled {clicks} = stored {clicks} = counted {counted}{verdict}")
        sent, answered, stored, shown, seconds = await exact(stack, client, campaign["uuid"])
        verdict = "" if sent == answered == stored == shown else ODD
        print(f"  sent {sent} = answered {answered} = stored {stored} = counted {shown}{verdict}")
        print(f"  all of it counted {seconds:.2f} s after the last answer")


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
        pid = stack.pid(part)
        backends = await connection.fetch(BACKENDS, f"milepost {part}")
        watch, deadline = Stopwatch([pid], [row["pid"] for row in backends]), time.monotonic() + LONGEST_SECONDS
        os.kill(pid, signal.SIGCONT)
        task = progress.add_task(part, total=rows)
        while (value := await connection.fetchval(query)) != goal:
            progress.update(task, completed=value)
            if time.monotonic() > deadline:
                raise BadRun(f"{part} stands at {value} of {goal}")
            await asyncio.sleep(0.1)
        progress.remove_task(task)
        return watch.speed(rows)


async def exact(stack: Stack, client: Api, uuid: str) -> tuple[int, int, int, int, float]:
    """Drive clients that remember every answer: sent, answered, stored and counted, which must be equal; and the
    seconds from the last answer until all was counted."""
    before = (await client.stats())["clicks"]
    ledger, stop = Ledger(), asyncio.Event()
    clients = [asyncio.create_task(visit(stack.edge_url, uuid, ledger, stop, seed)) for seed in range(16)]
    await asyncio.sleep(EXACT_SECONDS)
    stop.set()
    await asyncio.gather(*clients)
    answered, ended = len(ledger.clicks), time.monotonic()
    counted = (await client.wait_clicks(before + answered))["clicks"] - before
    seconds = time.monotonic() - ended
    async with stack.database() as connection:
        stored = await connection.fetchval("SELECT count(*) FROM clicks") - before
    return answered + ledger.unanswered_clicks, answered, stored, counted, seconds
