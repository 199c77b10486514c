"""An edge whose workers' system calls are traced, or made to fail, or kill them; on a socket of the test if wanted."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from shared.data_dir import write_private
from shared.ids import KeyRing
from tests.faults.edge.visitors import Ledger, Visitor
from tests.integration.edge.harness import REPOSITORY, Edge, await_true

PATIENT: Final = 60.0
"""Seconds; what takes longer will not come any more, however busy the machine is."""

# Takes a line of the worker's own file for each of its lives: what strace is to do with that life, nothing if empty.
# -D: the worker stays its supervisor's child, strace hangs on from outside.
_WRAPPER = """#!/bin/sh
lives="{lives}/$4"
if [ "$3" = --worker ] && [ -s "$lives" ]; then
    read -r life < "$lives"
    sed -i 1d "$lives"
    [ -n "$life" ] && exec strace -D -f -q $life "{python}" "$@"
fi
exec "{python}" "$@"
"""


@dataclass
class FaultyEdge(Edge):
    """`lives`: by worker, what strace is told for its first, second, … life. `listener`: a socket to serve, which
    stays the test's; without one it is the supervisor's alone."""

    lives: dict[int, list[str]] = field(default_factory=dict)
    listener: socket.socket | None = None

    def launch(self) -> "subprocess.Popen[bytes]":
        assert shutil.which("strace"), "strace is needed: apt-get install strace"
        if not self.data_dir.key_ring.exists() and "MILEPOST_SECRET_KEYS" not in self.settings:
            write_private(self.data_dir.key_ring, KeyRing.generate().to_text())
        # A port that is only known to be free may be taken before it is bound, by any client on this machine.
        listener = self.listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = listener.getsockname()[1]
        command = [sys.executable, "-m", "tests.faults.edge.wrapped_supervisor", str(self._wrapper())]
        # Compiled modules are not saved: their writes and renames would be counted with the journal's.
        environment = self.environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
        with (self.data_dir.root / "edge.log").open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "--fd", str(listener.fileno())],
                env=environment,
                cwd=REPOSITORY,
                stderr=errors,
                pass_fds=[listener.fileno()],
            )
        if listener is not self.listener:
            listener.close()
        return self.process

    def start(self) -> Self:
        try:
            self.launch()
            await_true(self.is_ready, f"the edge is ready; its log: {self.log()}", PATIENT)
            return self
        except BaseException:
            self.end()
            raise

    def stop(self) -> int:
        """SIGTERM; gives the supervisor's exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENT)

    def end(self) -> None:
        """End what still runs by force: a test that failed leaves no process."""
        if self.process is None or self.process.poll() is not None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True)
        for member in (psutil.Process(self.process.pid), *family):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.stop()
        finally:
            self.end()

    def _wrapper(self) -> Path:
        folder = self.data_dir.root / "lives"
        folder.mkdir(exist_ok=True)
        for index, lives in self.lives.items():
            (folder / str(index)).write_text("".join(f"{life}\n" for life in lives))
        wrapper = folder / "python"
        wrapper.write_text(_WRAPPER.format(lives=folder, python=sys.executable))
        wrapper.chmod(0o700)
        return wrapper

    def await_workers(self, wanted: Iterable[int]) -> None:
        """Wait until exactly these workers take clicks."""
        indexes = sorted(wanted)
        await_true(
            lambda: self.is_ready() and self.admin("/readyz").json()["workers"] == indexes, "all workers", PATIENT
        )

    def worker_report(self, index: int = 0) -> dict[str, Any]:
        """What `/healthz` says about a worker."""
        report: dict[str, Any] = self.admin("/healthz").json()["workers"][str(index)]
        return report

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.admin("/metrics").body.decode().splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name]
        assert values, f"no metric {name}"
        return sum(values)


def await_trace(trace: Path) -> list[str]:
    """The lines of a finished trace: strace has written the end of every thread."""

    def ended() -> bool:
        lines = trace.read_text(errors="replace").splitlines() if trace.exists() else []
        threads = {line.split()[0] for line in lines}
        return bool(threads) and threads == {line.split()[0] for line in lines if line.rstrip().endswith("+++")}

    await_true(ended, f"strace has written {trace}", PATIENT)
    return trace.read_text(encoding="latin-1").splitlines()


def assert_answered_once(edge: Edge, ledger: Ledger, *, spare: int | None = None) -> None:
    """Every answered click and postback is in the journal exactly once; beyond them at most `spare` clicks, by
    default as many as went without a redirect: nobody was promised that those are not recorded."""
    stored = Counter(event["id"] for event in edge.clicks())
    converted = Counter(event["click_id"] for event in edge.postbacks())
    assert [click for click, times in stored.items() if times > 1] == []
    assert len(ledger.clicks) == len(set(ledger.clicks))
    assert set(ledger.clicks) - set(stored) == set()
    assert [click for click in ledger.postbacks if converted[click] != 1] == []
    if spare is None:
        spare = ledger.unanswered + ledger.passed_over + ledger.refused.total()
    assert len(set(stored) - set(ledger.clicks)) <= spare


async def meanwhile(holds: Callable[[], object], what: str, seconds: float = PATIENT) -> None:
    """As `await_true`, while visitors go on."""
    await asyncio.to_thread(await_true, holds, what, seconds)


async def more_clicks(ledger: Ledger, wanted: int, what: str = "clicks go on") -> None:
    """Wait until so many more were redirected."""
    before = len(ledger.clicks)
    await meanwhile(lambda: len(ledger.clicks) >= before + wanted, what)


async def replaced(edge: FaultyEdge, workers: int, old: Sequence[int]) -> None:
    """Wait until other processes have taken the places of `old`, and all workers take clicks."""
    await meanwhile(lambda: not {*old} & {*pids_of(edge, workers)}, "other workers")
    await asyncio.to_thread(edge.await_workers, range(workers))


def pids_of(edge: Edge, workers: int) -> list[int]:
    return [edge.worker_pid(index) for index in range(workers)]


def listens(edge: Edge) -> bool:
    """Whether the supervisor holds the public socket open."""
    assert edge.process is not None
    found = psutil.Process(edge.process.pid).net_connections("tcp4")
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == edge.port for each in found)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def connected_to_each(edge: Edge, each: int) -> tuple[list[Visitor], list[Visitor]]:
    """So many visitors with a kept connection to the first of two workers, and to the second; a ledger for each
    side. They have clicked once."""
    first, second = pids_of(edge, 2)
    sides = []
    for other in (second, first):
        ledger = Ledger()
        visitors = [Visitor(edge.port, "kept", ledger, converts=True, pause=0.02) for _ in range(each)]
        # Which worker takes a connection is nobody's choice, so one of them is not there.
        with frozen(other):
            await asyncio.gather(*(visitor.turn() for visitor in visitors))
        assert len(ledger.clicks) == each
        sides.append(visitors)
    return sides[0], sides[1]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
