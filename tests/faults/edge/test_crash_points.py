"""Covers a worker that is killed at its n-th system call of a kind: while it starts, serves, mends its journal and ends.
Each time the next one serves, and a reader finds every answered click and postback exactly once.

Every call of a journal's life, one after another, is tried in tests/unit/journal; here the whole worker dies, at some
of them, under load.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

from shared.data_dir import DataDir
from tests.faults.edge.faulty_edge import (
    PATIENT,
    FaultyEdge,
    assert_answered_once,
    await_trace,
    listens,
    meanwhile,
    more_clicks,
    pids_of,
    replaced,
)
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


def visitors_of(edge: FaultyEdge, ledger: Ledger) -> list[Visitor]:
    return [Visitor(edge.port, style, ledger, converts=True, padding=LARGE_CLICK) for style in STYLES]


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


async def test_killed_while_it_starts(tmp_path: Path, valkey: Valkey) -> None:
    """Nobody was let in yet, so no connection may notice."""
    opens = opens_of_a_start(tmp_path, valkey)
    points = [("mkdir", 2), ("rename", 1), ("rename", 2), ("fallocate", 1), ("fsync", 2), ("fsync", 4)]
    points += [("openat", opens[1]), ("openat", opens[-1])]
    edge = edge_at(tmp_path, valkey)
    traces = [tmp_path / f"life-{number}" for number in range(len(points))]
    for number, (call, when) in enumerate(points):
        life = f"-o {traces[number]} -e trace={call} -e {KILL.format(call=call, when=when)}"
        edge.lives.setdefault(number % WORKERS, []).append(life)
    ledger = Ledger()
    edge.launch()
    try:
        await meanwhile(lambda: listens(edge), "the supervisor holds its socket")
        async with visiting(visitors_of(edge, ledger)):
            for trace in traces:
                assert await asyncio.to_thread(was_killed, trace), trace.read_text()[-500:]
            await asyncio.to_thread(edge.await_workers, range(WORKERS))
            await more_clicks(ledger, 50)
        assert edge.stop() == 0
    finally:
        edge.end()
    assert ledger.broken == []
    assert_the_next_one_serves(edge, ledger)


def opens_of_a_start(tmp_path: Path, valkey: Valkey) -> list[int]:
    """Which of the opens of a worker's main thread are those of the journal. The thousands before load modules."""
    trace = tmp_path / "opens"
    (tmp_path / "rehearsal").mkdir()
    edge = FaultyEdge(DataDir.at(tmp_path / "rehearsal"), valkey.url, lives={0: [f"-o {trace} -e trace=openat"]})
    with edge:
        main = str(edge.worker_pid())
    lines = [line for line in await_trace(trace) if line.split()[0] == main and " openat(" in line]
    return [number for number, line in enumerate(lines, 1) if f"{edge.data_dir.journal}" in line]


class Fate:
    """strace attached to a worker that serves already: calls are counted from now on, by thread."""

    def __init__(self, pid: int, trace: Path, *injections: str) -> None:
        self._trace = trace
        calls = ",".join(re.findall(r"inject=(\w+)", " ".join(injections)))
        rules = [word for injection in injections for word in ("-e", injection)]
        command = ["strace", "-f", "-q", "-p", str(pid), "-o", str(trace), "-e", f"trace={calls}", *rules]
        self._process = Popen(command, stderr=DEVNULL)
        try:
            await_true(lambda: is_traced(pid) or self._process.poll() is not None, f"strace holds {pid}", PATIENT)
        except BaseException:
            self.end()
            raise

    def came(self) -> bool:
        """Whether the worker was killed; waits until it has ended."""
        self._process.wait(PATIENT)
        return was_killed(self._trace)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def is_traced(pid: int) -> bool:
    """Whether every thread is; True for a process that is over already."""
    try:
        states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:
        return True
    return not any("TracerPid:\t0\n" in state for state in states)


@contextmanager
def fates(edge: FaultyEdge, tmp_path: Path, points: Sequence[tuple[str, int]]) -> Iterator[list[Fate]]:
    """A point for each worker."""
    met: list[Fate] = []
    try:
        for pid, (call, when) in zip(pids_of(edge, WORKERS), points, strict=True):
            met.append(Fate(pid, tmp_path / f"fate-{pid}", KILL.format(call=call, when=when)))
        yield met
    finally:
        for fate in met:
            fate.end()


@pytest.mark.parametrize(
    ("durability", "points"),
    [
        pytest.param("fsync", [("write", when) for when in (1, 2, 3, 5, 8, 13, 34, 89)], id="fsync-write"),
        pytest.param("fsync", [("fdatasync", when) for when in (1, 2, 13)] + [("fallocate", 1)], id="fsync-sync"),
        pytest.param("os", [("write", when) for when in (1, 2, 5, 21)], id="os-write"),
    ],
)
async def test_killed_while_it_serves(
    tmp_path: Path, valkey: Valkey, durability: str, points: list[tuple[str, int]]
) -> None:
    """Clicks are large, so that the space that a segment reserves ahead is soon used."""
    ledger = Ledger()
    with edge_at(tmp_path, valkey, durability) as edge:
        await asyncio.to_thread(edge.await_workers, range(WORKERS))
        async with visiting(visitors_of(edge, ledger)):
            for start in range(0, len(points), WORKERS):
                await more_clicks(ledger, 20)
                first = pids_of(edge, WORKERS)
                with fates(edge, tmp_path, points[start : start + WORKERS]) as met:
                    for fate in met:
                        assert await asyncio.to_thread(fate.came)
                await replaced(edge, WORKERS, first)
            await more_clicks(ledger, 50)
        assert edge.stop() == 0
    assert_the_next_one_serves(edge, ledger)


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_killed_while_it_ends(tmp_path: Path, valkey: Valkey, durability: str) -> None:
    ledger = Ledger()
    points = [("fdatasync", 1), ("ftruncate", 1), ("write", 1), ("write", 3)]
    with edge_at(tmp_path, valkey, durability) as edge:
        await asyncio.to_thread(edge.await_workers, range(WORKERS))
        async with visiting(visitors_of(edge, ledger)):
            await more_clicks(ledger, 200)
        with fates(edge, tmp_path, points) as met:
            assert edge.stop() == 0
            assert [point for point, fate in zip(points, met, strict=True) if not fate.came()] == []
    assert_the_next_one_serves(edge, ledger)


@pytest.mark.parametrize("call", ["openat", "fallocate", "fsync", "rename", "write"])
async def test_killed_while_it_writes_anew_what_a_failed_sync_left(tmp_path: Path, valkey: Valkey, call: str) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey, workers=1) as edge:
        first = edge.worker_pid()
        async with visiting(visitors_of(edge, ledger)):
            await more_clicks(ledger, 50)
            rules = ("inject=fdatasync:error=EIO:when=3", KILL.format(call=call, when=7 if call == "write" else 1))
            fate = Fate(first, tmp_path / "fate", *rules)
            try:
                assert await asyncio.to_thread(fate.came)
            finally:
                fate.end()
            await replaced(edge, 1, [first])
        assert edge.stop() == 0
    assert_the_next_one_serves(edge, ledger)
