"""Processes that an earlier life of a data directory left behind: recognised surely, ended in order.

A pid in a file proves nothing, since the number may belong to a stranger by now. So every process is judged by what
the kernel says about it: its environment names this data directory (compared as folders, through that process's own
root, so that two containers with the same path stay apart), or it is a Postgres whose working directory is ours
(backends overwrite their environment). Signals go through a pidfd taken before the judgement, never to a number.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from management.embedded.failure import StartError
from management.embedded.process import DATA_DIR_MARK, PART_MARK, StopSteps, until_gone
from shared.data_dir import DataDir

SERVERS = ("valkey", "postgres")
_POSTGRES_FOLDERS = ("postgres", "postgres.new")
# The kernel has asked it to end when its supervisor died, and whatever it was doing survives a kill.
_PART_STEPS: StopSteps = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
_POSTGRES_STEPS: StopSteps = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# A backend whose postmaster is gone ends by itself, unless it is in the middle of a long computation.
_ORPHAN_STEPS: StopSteps = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process of this data directory. `orphan` is a Postgres process that no mark names: a backend."""

    pid: int
    part: str
    orphan: bool = False


def find(data_dir: DataDir) -> list[Leftover]:
    """Every process of the data directory but the caller, by pid."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            leftover = judge(int(entry.name), data_dir)
            if leftover is not None:
                found.append(leftover)
    return sorted(found, key=lambda leftover: leftover.pid)


def judge(pid: int, data_dir: DataDir) -> Leftover | None:
    """What the process is to this data directory; None for a stranger, one that ended or may not be looked at."""
    process = Path("/proc", str(pid))
    try:
        environ = dict(
            line.partition(b"=")[::2] for line in (process / "environ").read_bytes().split(b"\0") if b"=" in line
        )
        part = environ.get(PART_MARK.encode())
        folder = environ.get(DATA_DIR_MARK.encode())
        if part is not None and folder is not None:
            seen = process / "root" / os.fsdecode(folder).lstrip("/")
            return Leftover(pid, os.fsdecode(part)) if _same(seen, data_dir.root) else None
        if (process / "exe").readlink().name.startswith(("postgres", "initdb")) and any(
            _same(process / "cwd", data_dir.root / name) for name in _POSTGRES_FOLDERS
        ):
            return Leftover(pid, "postgres", orphan=True)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return None


async def end_all(data_dir: DataDir) -> list[str]:
    """Ends every leftover, the parts before the servers they use; gives the names of the parts that were found."""
    found = find(data_dir)
    parts = sorted({leftover.part for leftover in found} - set(SERVERS))
    await asyncio.gather(*(end(data_dir, part) for part in parts))
    servers = [name for name in SERVERS if any(leftover.part == name for leftover in found)]
    for name in servers:
        await end(data_dir, name)
    return parts + servers


async def end(data_dir: DataDir, part: str) -> None:
    """Ends the leftovers of one part; raises StartError if one does not end or a Postgres there is not ours."""
    found = [leftover for leftover in find(data_dir) if leftover.part == part]
    marked = [leftover for leftover in found if not leftover.orphan]
    if part == "postgres" and not marked:
        _refuse_foreign_postmaster(data_dir, found)
    steps = _POSTGRES_STEPS if part == "postgres" else _PART_STEPS
    await asyncio.gather(*(_end_one(leftover, data_dir, steps) for leftover in marked))
    orphans = [leftover for leftover in find(data_dir) if leftover.part == part]
    await asyncio.gather(*(_end_one(leftover, data_dir, _ORPHAN_STEPS, 2.0) for leftover in orphans))


def _refuse_foreign_postmaster(data_dir: DataDir, found: list[Leftover]) -> None:
    with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
        pid = int((data_dir.postgres / "postmaster.pid").read_text().splitlines()[0])
        if any(leftover.pid == pid for leftover in found):
            raise StartError(f"a Postgres that milepost did not start (pid {pid}) runs on {data_dir.postgres}, end it")


async def _end_one(leftover: Leftover, data_dir: DataDir, steps: StopSteps, grace: float = 0.0) -> None:
    with _pidfd(leftover.pid) as descriptor:
        if descriptor is None or judge(leftover.pid, data_dir) != leftover:
            return
        if grace and await _gone_within(descriptor, grace):
            return
        for signal_number, seconds in steps:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal_number)
            if await _gone_within(descriptor, seconds):
                return
    raise StartError(f"{leftover.part} (pid {leftover.pid}) is left from an earlier start and does not end")


async def _gone_within(descriptor: int, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await until_gone(descriptor)
    except TimeoutError:
        return False
    return True


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.stat(), other.stat())
    except FileNotFoundError:
        return False
