"""Covers a disk that fails or is full beneath a running edge: no answer without a durable copy, losses declared in
exact number or refused, postbacks in the last reserve, and recovery without anybody's help.

Leaves each failing call of the journal to tests/unit/journal, and a kill while the journal is mended to
test_crash_points.py.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.data_dir import DataDir
from shared.ids import KeyRing
from shared.journal import END, read_losses, streams, write_consumed
from tests.faults.edge.calls import read_calls
from tests.faults.edge.faulty_edge import (
    FaultyEdge,
    assert_answered_once,
    await_trace,
    meanwhile,
    more_clicks,
    replaced,
)
from tests.faults.edge.order import TRACE, judge
from tests.faults.edge.visitors import Ledger, Style, Visitor, visiting
from tests.integration.edge.harness import Valkey
from tests.small_disk import SmallDisk

MIB = 1 << 20
STYLES: tuple[Style, ...] = ("kept", "kept", "single", "pipelined")
LARGE = 4000


@pytest.mark.parametrize("when", ["1", "5", "5..6", "4+3"])
async def test_a_sync_that_fails_is_never_trusted_again(tmp_path: Path, valkey: Valkey, when: str) -> None:
    """The first, a later one, two in a row (that of the new segment too), every third: all injected in the kernel."""
    trace = tmp_path / "trace"
    ledger = Ledger()
    (tmp_path / "edge").mkdir()
    broken_disk = f"-o {trace} {TRACE} -e inject=fdatasync:error=EIO:when={when}"
    with FaultyEdge(DataDir.at(tmp_path / "edge"), valkey.url, lives={0: [broken_disk]}) as edge:
        visitors = [Visitor(edge.port, style, ledger, converts=True) for style in STYLES]
        await asyncio.gather(*(visitor.run(asyncio.Event(), 30) for visitor in visitors))
        await asyncio.to_thread(edge.await_workers, (0,))
        before = len(ledger.clicks)
        await Visitor(edge.port, "kept", ledger).run(asyncio.Event(), 5)
        assert len(ledger.clicks) == before + 5
        assert edge.stop() == 0
        assert_answered_once(edge, ledger)
    calls = read_calls(await_trace(trace))
    assert [call for call in calls if call.name == "fdatasync" and call.result == -1] != []
    assert judge(calls, "fsync").violations == []
    assert ledger.broken == []
    assert ledger.without_retry_after == 0
    assert set(ledger.refused) | set(ledger.refused_postbacks) <= {503}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 48 * MIB) as small:
        yield small


def edge_on(root: Path, valkey: Valkey, **settings: str) -> FaultyEdge:
    """Without the reserve that would keep a small disk full for ever; `settings` without their prefix."""
    root.mkdir(exist_ok=True)
    given = {"DISK_RESERVE": "0", "POSTBACK_RATE": "0", "SECRET_KEYS": KeyRing.generate().to_text(), **settings}
    return FaultyEdge(DataDir.at(root), valkey.url, {f"MILEPOST_{name}": value for name, value in given.items()})


def visitors_of(edge: FaultyEdge, ledger: Ledger) -> list[Visitor]:
    return [Visitor(edge.port, style, ledger, padding=LARGE) for style in STYLES]


def losses(edge: FaultyEdge) -> int:
    """What all streams declare on disk."""
    return sum(read_losses(path) for path in streams(edge.data_dir.journal))


def unrecorded(edge: FaultyEdge, ledger: Ledger) -> int:
    """How many answered clicks are not in the journal; what is there was answered, and once."""
    stored = [event["id"] for event in edge.clicks()]
    assert len(stored) == len(set(stored))
    assert len(set(stored) - set(ledger.clicks)) <= ledger.unanswered
    return len(set(ledger.clicks) - set(stored))


def consume_everything(edge: FaultyEdge) -> None:
    """Say, as an ingest would, that nothing in the journal is needed any more."""
    for path in streams(edge.data_dir.journal):
        write_consumed(path, 1 << 40, END)


async def convert_until_refused(edge: FaultyEdge, ledger: Ledger, click_ids: list[str]) -> None:
    """A postback for each click, on several connections, until one is answered 503."""

    async def convert(mine: list[str]) -> None:
        visitor = Visitor(edge.port, "kept", ledger, padding=LARGE)
        for click_id in mine:
            if await visitor.convert(click_id) != 200:
                break
        visitor.leave()

    await asyncio.gather(*(convert(click_ids[start::8]) for start in range(8)))


def is_full(edge: FaultyEdge) -> bool:
    return edge.worker_report()["journal_full"] is True


@pytest.mark.parametrize("reason", ["twice the journal is not free any more", "the disk has no byte left"])
async def test_on_a_full_disk_answered_is_journaled_or_declared(
    tmp_path: Path, valkey: Valkey, disk: SmallDisk, reason: str
) -> None:
    ledger, behind = Ledger(), Ledger()
    with edge_on(disk.path / "edge", valkey) as edge:
        async with visiting(visitors_of(edge, ledger)):
            await more_clicks(ledger, 700, "clicks to convert later")
        stored = list(ledger.clicks)
        assert (edge.metric("milepost_edge_declared_losses"), is_full(edge)) == (0, False)
        if reason == "the disk has no byte left":
            # Nothing of the journal counts then, so no measure of the edge can foresee what the disk will say.
            consume_everything(edge)
        disk.fill()
        async with visiting(visitors_of(edge, ledger)):
            await meanwhile(lambda: edge.metric("milepost_edge_declared_losses") > 50, "losses are declared")
            await convert_until_refused(edge, ledger, stored)
            await meanwhile(lambda: edge.metric("milepost_edge_declared_losses") > 100, "clicks still redirect")
        await meanwhile(lambda: edge.worker_report()["declared_losses"] == losses(edge), "all losses are reported")
        assert edge.metric("milepost_edge_declared_losses") == losses(edge) == unrecorded(edge, ledger)
        assert edge.admin("/healthz").json()["status"] != "Operational"
        assert 0 < len(ledger.postbacks) < len(stored)
        assert set(ledger.refused_postbacks) == {503}

        disk.relieve()
        await meanwhile(lambda: not is_full(edge), "there is room again")
        declared = losses(edge)
        await Visitor(edge.port, "kept", behind, converts=True).run(asyncio.Event(), 20)
        assert len(behind.clicks) == 20
        ledger.clicks += behind.clicks
        await convert_until_refused(edge, ledger, stored[-1:])
        assert ledger.postbacks[-1] == stored[-1]
        assert edge.stop() == 0
        assert losses(edge) == declared == unrecorded(edge, ledger)
        assert {event["click_id"] for event in edge.postbacks()} == {*ledger.postbacks, *behind.postbacks}
    assert (ledger.refused, ledger.without_retry_after, ledger.broken + behind.broken) == ({}, 0, [])


async def test_on_a_full_disk_clicks_may_be_refused_instead(tmp_path: Path, valkey: Valkey, disk: SmallDisk) -> None:
    ledger = Ledger()
    with edge_on(disk.path / "edge", valkey, ON_DISK_FULL="refuse") as edge:
        await Visitor(edge.port, "kept", ledger).run(asyncio.Event(), 20)
        disk.fill()
        async with visiting(visitors_of(edge, ledger)):
            await meanwhile(lambda: ledger.refused[503] > 50, "clicks are refused")
            disk.relieve()
            await meanwhile(lambda: not is_full(edge), "there is room again")
            await more_clicks(ledger, 50)
        assert edge.stop() == 0
        assert (losses(edge), unrecorded(edge, ledger)) == (0, 0)
    assert (set(ledger.refused), ledger.without_retry_after, ledger.broken) == ({503}, 0, [])


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_a_worker_killed_at_the_limit_of_the_journal_declared_what_it_answered(
    tmp_path: Path, valkey: Valkey, durability: str
) -> None:
    ledger = Ledger()
    with edge_on(tmp_path / "edge", valkey, JOURNAL_MAX="1 MiB", DURABILITY=durability) as edge:
        async with visiting(visitors_of(edge, ledger)):
            for _ in range(2):
                await meanwhile(lambda: is_full(edge) and edge.worker_report()["declared_losses"] > 50, "losses")
                first = edge.worker_pid()
                os.kill(first, signal.SIGKILL)
                await replaced(edge, 1, [first])
            await asyncio.to_thread(consume_everything, edge)
            await meanwhile(lambda: not is_full(edge), "what is consumed does not count")
            await more_clicks(ledger, 50)
        assert edge.stop() == 0
        lost = unrecorded(edge, ledger)
        assert 100 < lost <= losses(edge) <= lost + ledger.unanswered
    assert ledger.refused == {}


async def test_a_worker_that_starts_on_a_full_disk_serves_when_there_is_room(
    tmp_path: Path, valkey: Valkey, disk: SmallDisk
) -> None:
    ledger = Ledger()
    with edge_on(disk.path / "edge", valkey) as edge:
        await Visitor(edge.port, "kept", ledger).run(asyncio.Event(), 20)
        disk.fill()
        first = edge.worker_pid()
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(2)
        assert edge.process is not None
        assert edge.process.poll() is None
        disk.relieve()
        await asyncio.to_thread(edge.await_workers, (0,))
        await Visitor(edge.port, "kept", ledger).run(asyncio.Event(), 20)
        assert edge.stop() == 0
        assert_answered_once(edge, ledger)
    assert len(ledger.clicks) == 40
