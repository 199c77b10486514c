"""The machine under the benchmarks: its processors, what processes use of them, and what memory they hold.

One processor is the server's and one is everybody else's: client, Valkey, supervisors, and this program itself.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

SERVER_CPU, CLIENT_CPU = 0, 1
BOTH = frozenset((SERVER_CPU, CLIENT_CPU))


class Missing(Exception):
    """What a question needs is not on this machine; the text says what, and the command to type."""


class Memory(NamedTuple):
    """Of one process, in bytes: `resident` counts shared pages whole, `proportional` by the number of sharers."""

    resident: int
    proportional: int


def need_two_processors() -> None:
    """End with a sentence when server and client would share one processor."""
    if not os.sched_getaffinity(0) >= BOTH:
        sys.exit("The benchmarks need processors 0 and 1: one for the server, one for the client.")


def pin(pid: int, cpus: Iterable[int]) -> None:
    """Keep all threads of a process on these processors."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


@contextmanager
def on_both() -> Iterator[None]:
    """This program and what it starts meanwhile have both processors; afterwards it has the client's again."""
    os.sched_setaffinity(0, BOTH)
    try:
        yield
    finally:
        os.sched_setaffinity(0, {CLIENT_CPU})


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that the processes have used so far, all threads together."""
    used = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(float(times.user + times.system) for times in used)


def memory(pid: int) -> Memory:
    found = dict(re.findall(r"(?m)^(Rss|Pss):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
    return Memory(int(found["Rss"]) * 1024, int(found["Pss"]) * 1024)


class Processors(NamedTuple):
    """All processors over some time: shares of it that were used by anybody here, and by the host for others."""

    used: float
    stolen: float


class Watch:
    """Watches the processors from when it was made."""

    def __init__(self) -> None:
        self._before = _processor_times()

    def seen(self) -> Processors:
        everything, idle, stolen = (now - before for now, before in zip(_processor_times(), self._before, strict=True))
        everything = max(everything, 1e-9)
        return Processors(1 - (idle + stolen) / everything, stolen / everything)


def _processor_times() -> tuple[float, float, float]:
    times = psutil.cpu_times()
    # Guest times, at the end, are counted in user time already.
    return sum(times[:8]), times.idle + times.iowait, times.steal


def need_program(name: str, package: str) -> str:
    """The path of `name`; installs its Debian package where that is possible, else ends with the command to type."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    if shutil.which(name, path=places) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", package]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = shutil.which(name, path=places)
    if found is None:
        sys.exit(f"The benchmarks need {name}. On Debian type: sudo apt-get install -y {package}")
    return found
