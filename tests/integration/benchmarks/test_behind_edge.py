"""Covers that each fault of the benchmark is there from when it begins until it is healed, and that what a window is
judged by tells it from a broker that is well. What is made of the windows: tests/unit/benchmarks/test_broker_faults.py."""

import asyncio
import time
from pathlib import Path

from benchmarks.behind_edge import BehindEdge
from benchmarks.broker_faults import FAULTS, Fault, Seen, healthy
from shared.data_dir import DataDir
from tests.integration.shipper.harness import Streams

RECORDS, BYTES = 3_000, 1_000
SECONDS = 40.0


async def seen(behind: BehindEdge, journal: Streams, stream: bytes, fault: Fault | None) -> Seen:
    """What became of records that were journaled while the broker had this fault, or none: once that has shown twice in
    a row, a second apart."""
    journaled, begun = behind.journaled(), await asyncio.to_thread(behind.caught_up)
    shows = healthy if fault is None else fault.there
    try:
        if fault is not None:
            await asyncio.to_thread(fault.begin, behind)
        await journal.append(stream, RECORDS, BYTES)
        shown, deadline = 0, time.monotonic() + SECONDS
        while shown < 2 and time.monotonic() < deadline:
            now = await asyncio.to_thread(behind.standing_now)
            found = Seen(behind.journaled() - journaled, now.shipped - begun.shipped, now.lost - begun.lost)
            shown = shown + 1 if shows(found) else 0
        return found
    finally:
        await asyncio.to_thread(behind.heal)


async def test_every_fault_is_there_until_it_is_healed(tmp_path: Path) -> None:
    journal = Streams(DataDir.at(tmp_path / "data"))
    stream = journal.begin()
    try:
        with BehindEdge.running(journal.data_dir) as behind:
            await asyncio.to_thread(behind.store)
            without = await seen(behind, journal, stream, None)
            assert healthy(without), without
            for fault in FAULTS:
                assert not fault.there(without), (fault.name, without)
                during = await seen(behind, journal, stream, fault)
                assert fault.there(during), (fault.name, during)
                assert during.journaled == RECORDS
            assert (await asyncio.to_thread(behind.caught_up)).brought(journal.written[stream])
    finally:
        await journal.close()
