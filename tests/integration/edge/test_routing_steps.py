"""The routing table's task on a loop of its own: how long a load holds the loop up, and that no state between two
tables is ever to be seen. Whole edges are in test_routing.py and test_routing_changes.py.
"""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest

from edge import routing_table
from edge.counters import Counters
from edge.routing_table import RoutingTable
from management.publisher import open_redis, publish_campaign
from shared.campaigns import REDIS_EDGES, REDIS_GENERATION, REDIS_VERSION, AccountRow
from tests.integration.edge import rows
from tests.integration.edge.harness import Valkey
from tests.integration.edge.management import fill, mend

SOME = 3_000


def generation(valkey: Valkey) -> str:
    with valkey.client() as client:
        value = client.get(REDIS_GENERATION)
    assert isinstance(value, bytes)
    return value.decode()


@asynccontextmanager
async def following(valkey: Valkey, copy: Path) -> AsyncIterator[tuple[RoutingTable, Counters]]:
    """A table that follows `valkey`; when there is one."""
    counters = Counters()
    table = RoutingTable(valkey.url, copy, "worker", counters, writes_copy=True)
    task = asyncio.create_task(table.run())
    try:
        async with asyncio.timeout(60):
            await table.filled.wait()
        yield table, counters
    finally:
        await ended(task)
        await table.close()


async def ended(task: asyncio.Task[None]) -> None:
    """The Redis client may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


async def reached(table: RoutingTable, version: int) -> None:
    async with asyncio.timeout(60):
        while table.current is None or table.current.version < version:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_table_that_is_replaced_while_it_is_read_is_never_used_mixed(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    """Generations follow each other faster than they can be read; all campaigns of one have its version."""
    generations = 12

    def replace_again_and_again() -> None:
        for version in range(2, generations + 2):
            fill(own_valkey, version, [rows.row(number, version=version) for number in range(1, SOME + 1)])

    seen: set[int] = set()
    async with following(own_valkey, tmp_path / "copy") as (table, _):
        writing = asyncio.create_task(asyncio.to_thread(replace_again_and_again))
        while table.current is None or table.current.version < generations + 1:
            assert table.current is not None
            versions = {campaign.version for campaign in table.current.by_id.values()}
            assert versions == {table.current.version}
            assert len(table.current.by_id) == (SOME if table.current.version > 1 else 1)
            seen.add(table.current.version)
            await asyncio.sleep(0.001)
        await writing
    assert len(seen) >= 1


async def test_changes_during_a_load_are_not_missed(own_valkey: Valkey, tmp_path: Path) -> None:
    """The table is complete for the version it had at the beginning; the log has the rest."""
    await asyncio.to_thread(fill, own_valkey, 1, [rows.row(number) for number in range(1, SOME + 1)])
    async with following(own_valkey, tmp_path / "copy") as (table, _):
        client = open_redis(own_valkey.url)
        for start in (2, 100, 200):
            refilled = asyncio.create_task(
                asyncio.to_thread(fill, own_valkey, start, [rows.row(n, version=start) for n in range(1, SOME + 1)])
            )
            await refilled
            for version in range(start + 1, start + 60):
                await publish_campaign(client, rows.row(version % SOME + 1, version=version, status="paused"))
            await reached(table, start + 59)
            assert table.current is not None
            missed = [
                version
                for version in range(start + 1, start + 60)
                if table.current.by_id[version % SOME + 1].status != "paused"
            ]
            assert missed == []
        await client.aclose()


@pytest.mark.parametrize("changed", [False, True])
async def test_a_load_and_a_change_are_cut_in_steps(
    own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    """Counted, not timed: with steps of no length the loop goes on after every row."""
    monkeypatch.setattr(routing_table, "STEP_SECONDS", 0.0)
    many = [rows.row(number, version=2) for number in range(1, SOME + 1)]
    async with following(own_valkey, tmp_path / "copy") as (table, counters):
        work = partial(mend, own_valkey, generation(own_valkey)) if changed else partial(fill, own_valkey)
        await asyncio.to_thread(work, 2, *(many if changed else [many]))
        turns = 0
        while table.current is None or table.current.version < 2:
            await asyncio.sleep(0)
            turns += 1
        assert len(table.current.by_id) == SOME
        assert counters.plain["table_deltas"] == changed
    assert turns >= SOME
    gc.unfreeze()


async def test_the_longest_step_is_shown_and_the_collector_is_back_after_a_load(
    own_valkey: Valkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In processor time; no assertion, because machines differ."""
    await asyncio.to_thread(fill, own_valkey, 2, [rows.row(number, version=2) for number in range(1, 10_001)])
    longest, last = 0.0, time.thread_time()
    done = asyncio.Event()

    async def tick() -> None:
        nonlocal longest, last
        while not done.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    began = time.thread_time()
    async with following(own_valkey, tmp_path / "copy") as (table, _):
        used = time.thread_time() - began
        done.set()
        await ticking
        assert table.current is not None
        assert len(table.current.by_id) == 10_000
        assert gc.isenabled()
    with capsys.disabled():
        sys.stdout.write(f"\n10,000 campaigns: {used:.1f} s of processor, longest step {longest * 1000:.1f} ms\n")
    gc.unfreeze()


async def test_a_failed_load_leaves_the_collector_on_and_the_table_as_it_was(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    async with following(own_valkey, tmp_path / "copy") as (table, counters):
        held = table.current
        await asyncio.to_thread(fill, own_valkey, 2, [rows.row(number, version=2) for number in range(1, SOME + 1)])
        own_valkey.kill()
        await asyncio.sleep(1)
        assert gc.isenabled()
        assert counters.plain["redis_errors"] > 0
        assert table.current is not None
        if table.current.version == 1:
            assert table.current is held


async def test_what_is_no_number_or_no_table_in_redis_is_passed_over(own_valkey: Valkey, tmp_path: Path) -> None:
    async with following(own_valkey, tmp_path / "copy") as (table, _):
        with own_valkey.client() as client:
            client.set(REDIS_VERSION, "x")
        await asyncio.sleep(0.3)
        assert table.current is not None
        assert table.current.version == 1
        await asyncio.to_thread(fill, own_valkey, 5, [rows.ACTIVE], [AccountRow(id=1, version=1)])
        await reached(table, 5)


async def test_a_worker_that_reads_a_large_table_reports_what_it_serves_meanwhile(
    own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a call would find no worker that lags, and answer that everybody has it."""
    monkeypatch.setattr(routing_table, "REPORT_SECONDS", 0.05)
    client = open_redis(own_valkey.url)
    async with following(own_valkey, tmp_path / "copy") as (table, _):
        await asyncio.to_thread(fill, own_valkey, 2, [rows.row(number, version=2) for number in range(1, 5 * SOME)])
        reports = set()
        while table.current is not None and table.current.version == 1:
            text = (await client.hvals(REDIS_EDGES))[0]
            reports.add((orjson.loads(text)["version"], orjson.loads(text)["at"]))
            await asyncio.sleep(0.01)
        assert {version for version, _ in reports} <= {1, 2}
        assert len(reports) >= 4, "renewed while the load goes on"
    await client.aclose()


async def test_a_row_that_changed_again_out_of_turn_is_not_missed(own_valkey: Valkey, tmp_path: Path) -> None:
    """Its place in the log is beyond the version that Redis is complete for."""
    async with following(own_valkey, tmp_path / "copy"):
        pass
    client = open_redis(own_valkey.url)
    await publish_campaign(client, rows.row(1, version=2, status="paused"))
    await publish_campaign(client, rows.row(1, version=4, status="inactive"))
    await client.aclose()
    counters = Counters()
    table = RoutingTable(own_valkey.url, tmp_path / "copy", "worker", counters, writes_copy=True)
    await table.load_copy()
    task = asyncio.create_task(table.run())
    await reached(table, 2)
    assert table.current is not None
    assert (table.current.version, table.current.by_id[1].status) == (2, "inactive")
    assert counters.plain["table_loads"] == 0
    await ended(task)
    await table.close()
