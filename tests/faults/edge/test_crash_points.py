"""Covers a worker that is killed at its n-th system call of a kind: while it starts, serves, mends its journal and ends.
Each time the next one serves, and a reader finds every answered click and postback exactly once.

Every call of a journal's life, one after another, is tried in tests/unit/journal; here the whole worker dies, at some
of them, under load.
"""

import asyncio
import re
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from shared.data_dir import DataDir
from tests.faults.edge.faulty_edge import FaultyEdge, assert_answered_once, await_trace, meanwhile, pids_of
from tests.faults.edge.visitors import CAMPAIGN, Ledger, Style, Visitor, visiting
from tests.integration.edge.harness import Valkey, await_true

STYLES: tuple[Style, ...] = ("kept", "kept", "single", "single", "pipelined", "pipelined")
LARGE_CLICK = 4000
WORKERS = 4
KILL = "inject={call}:signal=KILL:when={when}"


def edge_at(tmp_path: Path, valkey: Valkey, durability: str = "fsync", workers: int = WORKERS) -> FaultyEdge:
    (tmp_path / "edge").mkdir(exist_ok=True)
    settings = {"MILEPOST_DURABILITY": durability, "MILEPOST_EDGE_WORKERS": str(workers)}
    return FaultyEdge(DataDir.at(tmp_path / "edge"), valkey.url, settings)


def visitors_of(port: int, ledger: Ledger, padding: int = 0) -> list[Visitor]:
    return [Visitor(port, style, ledger, converts=True, padding=padding) for style in STYLES]


def doomed(edge: FaultyEdge, tmp_path: Path, points: list[tuple[str, int]]) -> list[Path]:
    """Have one life of a worker end at each point, in turn; their traces."""
    traces = []
    for number, (call, when) in enumerate(points):
        traces.append(tmp_path / f"life-{number}")
        life = f"-o {traces[-1]} -e trace={call} -e {KILL.format(call=call, when=when)}"
        edge.lives.setdefault(number % WORKERS, []).append(life)
    return traces


def was_killed(trace: Path) -> bool:
    return "+++ killed by SIGKILL +++" in "\n".join(await_trace(trace)[-64:])


def assert_the_next_one_serves(edge: FaultyEdge, ledger: Ledger) -> None:
    """Another edge on the same data directory; then the journal is compared with the ledger."""
    successor = FaultyEdge(edge.data_dir, edge.redis_url)
    with successor:
        answer = successor.get(f"/c/{CAMPAIGN.uuid}")
        assert answer.status == 302
        ledger.clicks.append(answer.location.partition("clickid=")[2].partition("&")[0])
    assert_answered_once(edge, ledger)


async def assert_survives(edge: FaultyEdge, traces: list[Path], ledger: Ledger, padding: int = 0) -> None:
    """Under load, until every doomed life is over and all workers serve again; then an orderly end and a new edge."""
    edge.launch()
    try:
        await meanwhile(edge.is_ready, "some worker serves")
        async with visiting(visitors_of(edge.port, ledger, padding)):
            for trace in traces:
                assert await asyncio.to_thread(was_killed, trace), trace.read_text()[-500:]
            await asyncio.to_thread(edge.await_workers, range(WORKERS))
            before = len(ledger.clicks)
            await meanwhile(lambda: len(ledger.clicks) > before + 50, "clicks go on")
        assert edge.stop() == 0
    finally:
        edge.end()
    assert edge.log().count("it is started again") >= len(traces)
    assert set(ledger.refused) | set(ledger.refused_postbacks) <= {503}
    assert_the_next_one_serves(edge, ledger)


async def test_killed_while_it_starts(tmp_path: Path, valkey: Valkey) -> None:
    """Nobody was let in yet, so no connection may notice."""
    edge = edge_at(tmp_path, valkey)
    opens = opens_of_a_start(tmp_path, valkey)
    points = [("mkdir", 2), ("rename", 1), ("rename", 2), ("fallocate", 1), ("flock", 1)]
    points += [("fsync", 1), ("fsync", 2), ("fsync", 3), ("fsync", 4)]
    points += [("openat", opens[0]), ("openat", opens[len(opens) // 2]), ("openat", opens[-1])]
    ledger = Ledger()
    await assert_survives(edge, doomed(edge, tmp_path, points), ledger)
    assert ledger.broken == []


def opens_of_a_start(tmp_path: Path, valkey: Valkey) -> list[int]:
    """Which of the opens of a worker's main thread are those of the journal. The thousands before load modules."""
    trace = tmp_path / "opens"
    (tmp_path / "rehearsal").mkdir()
    edge = FaultyEdge(DataDir.at(tmp_path / "rehearsal"), valkey.url, lives={0: [f"-o {trace} -e trace=openat"]})
    with edge:
        main = str(edge.worker_pid())
    lines = [line for line in await_trace(trace) if line.split()[0] == main and " openat(" in line]
    return [number for number, line in enumerate(lines, 1) if f"{edge.data_dir.journal}" in line]


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_killed_while_it_writes(tmp_path: Path, valkey: Valkey, durability: str) -> None:
    edge = edge_at(tmp_path, valkey, durability)
    points = [("write", when) for when in (1, 2, 3, 5, 8, 13, 55, 144)]
    ledger = Ledger()
    await assert_survives(edge, doomed(edge, tmp_path, points), ledger)


async def test_killed_while_it_syncs_or_reserves_space(tmp_path: Path, valkey: Valkey) -> None:
    """Clicks are large, so that the first 4 MB of a segment are soon full."""
    edge = edge_at(tmp_path, valkey)
    points = [("fdatasync", 1), ("fdatasync", 2), ("fallocate", 2), ("fdatasync", 3)]
    points += [("fdatasync", when) for when in (5, 8, 13, 34)]
    ledger = Ledger()
    await assert_survives(edge, doomed(edge, tmp_path, points), ledger, LARGE_CLICK)


class Fate:
    """strace attached to a worker that serves already: calls are counted from now on."""

    def __init__(self, pid: int, trace: Path, *injections: str) -> None:
        self.trace = trace
        calls = ",".join(re.findall(r"inject=(\w+)", " ".join(injections)))
        rules = [word for injection in injections for word in ("-e", injection)]
        command = ["strace", "-f", "-q", "-p", str(pid), "-o", str(trace), "-e", f"trace={calls}", *rules]
        self._process = Popen(command, stderr=DEVNULL)
        await_true(lambda: all_traced(pid), f"strace holds every thread of {pid}")

    def came(self) -> bool:
        """Whether the worker was killed; waits until it has ended."""
        assert self._process.wait(30) is not None
        return was_killed(self.trace)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def all_traced(pid: int) -> bool:
    states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return bool(states) and not any("TracerPid:\t0\n" in state for state in states)


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_killed_while_it_ends(tmp_path: Path, valkey: Valkey, durability: str) -> None:
    ledger = Ledger()
    fates: list[Fate] = []
    with edge_at(tmp_path, valkey, durability) as edge:
        await asyncio.to_thread(edge.await_workers, range(WORKERS))
        async with visiting(visitors_of(edge.port, ledger)):
            await meanwhile(lambda: len(ledger.clicks) > 200, "clicks")
            points = [("fdatasync", 1), ("ftruncate", 1), ("write", 1), ("write", 4)]
            for pid, (call, when) in zip(pids_of(edge, WORKERS), points, strict=True):
                if call == "fdatasync":
                    # Only its last sync is this worker's end; until then it must not be held.
                    continue
                fates.append(Fate(pid, tmp_path / f"fate-{pid}", KILL.format(call=call, when=when)))
        first = edge.worker_pid(0)
        fates.append(Fate(first, tmp_path / f"fate-{first}", KILL.format(call="fdatasync", when=1)))
        try:
            assert edge.stop() == 0
            assert [fate.trace.name for fate in fates if not fate.came()] == []
        finally:
            for fate in fates:
                fate.end()
    assert_the_next_one_serves(edge, ledger)


@pytest.mark.parametrize("call", ["openat", "fallocate", "fsync", "rename", "write", "ftruncate"])
async def test_killed_while_it_writes_anew_what_a_failed_sync_left(tmp_path: Path, valkey: Valkey, call: str) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey, workers=1) as edge:
        first = edge.worker_pid()
        async with visiting(visitors_of(edge.port, ledger)):
            await meanwhile(lambda: len(ledger.clicks) > 50, "clicks")
            fate = Fate(
                first,
                tmp_path / "fate",
                "inject=fdatasync:error=EIO:when=3+",
                KILL.format(call=call, when=8 if call == "write" else 1),
            )
            try:
                assert await asyncio.to_thread(fate.came), fate.trace.read_text()[-500:]
            finally:
                fate.end()
            await meanwhile(lambda: edge.worker_pid() != first, "another worker")
            await asyncio.to_thread(edge.await_workers, (0,))
        assert edge.stop() == 0
    assert_the_next_one_serves(edge, ledger)

