"""Covers a kill at every system call of a journal's life: its 1st, 2nd, … write, sync, rename, unlink, open, mkdir,
reservation and cut. Each time the reader finds everything that was answered, and the next writer opens and works.

Leaves kills at random moments of a busy journal to test_kill.py and test_loss_page.py.
"""

import asyncio
import shutil
import sys
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from shared.journal import JournalMeter, JournalWriter, StreamReader, delete_stillborn, read_losses, streams
from shared.journal.stream import hidden_streams
from tests.unit.journal.stream_builder import no_failure, read_on, records_between
from tests.unit.journal.traced import REPOSITORY

CALLS = {
    "write": "write,pwrite64",
    "sync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat",
    "open": "open,openat",
    "mkdir": "mkdir,mkdirat",
    "fallocate": "fallocate",
    "ftruncate": "ftruncate",
    "lock": "flock",
    "answer": "writev",
}
LEAST = {"write": 8, "sync": 10, "rename": 3, "unlink": 1, "open": 8, "mkdir": 1, "fallocate": 2, "ftruncate": 2}
"""How many of them a life has at least: fewer, and the test would not reach what it is about."""


def live_until(call: str, number: int, root: Path, durability: str) -> tuple[bytes, bool]:
    """What the process told, and whether it was killed at the call of this number (of one of its threads)."""
    command = [sys.executable, "-B", "-m", "tests.unit.journal.crashing_process", str(root), durability]
    with Popen(command, cwd=REPOSITORY, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        # Attached once all modules are loaded, so that only the journal's own calls are counted.
        strace = ["strace", "-f", "-o", "/dev/null", "-p", str(process.pid), "-e", f"trace={CALLS[call]}"]
        strace += ["-e", f"inject={CALLS[call]}:signal=KILL:when={number}"]
        with Popen(strace, stderr=PIPE) as tracer:
            assert tracer.stderr is not None
            assert b"attached" in tracer.stderr.readline()
            told, errors = process.communicate(b"\n", timeout=30)
            tracer.communicate(timeout=30)
    assert process.returncode in (0, -9), errors.decode()
    return told, process.returncode == -9


def numbers(told: bytes, kind: bytes) -> list[int]:
    pieces = (told[at : at + 9] for at in range(0, len(told) - 8, 9))
    return [int.from_bytes(piece[1:], "little") for piece in pieces if piece[:1] == kind]


async def open_and_work(root: Path, durability: str) -> Path:
    journal = JournalWriter.open(root, "fsync" if durability == "fsync" else "os", on_failure=no_failure)
    await journal.append(1, b"{}")
    await journal.close()
    return journal.path


def check(root: Path, told: bytes, durability: str) -> None:
    left = streams(root)
    assert len(left) <= 1
    assert bool(left) or told == b""
    for path in left:
        consumed = max([1, *numbers(told, b"c")])
        with StreamReader(path, consumed) as reader:
            records, gaps, finished = read_on(reader)
        assert (gaps, finished) == ([], True)
        assert records == records_between(consumed, consumed - 1 + len(records))
        assert max([0, *numbers(told, b"r")]) < consumed + len(records)
        # Acknowledged by then, or in the commit that was under way.
        assert 0 <= read_losses(path) - len(numbers(told, b"l")) <= 2
    fresh = asyncio.run(open_and_work(root, durability))
    assert set(streams(root)) == {*left, fresh}
    assert JournalMeter(root).unconsumed_bytes() > 0
    delete_stillborn(root, -60.0, 1e11)
    assert hidden_streams(root) == []


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("call", list(CALLS))
def test_a_kill_at_any_call_costs_nothing_that_was_answered(tmp_path: Path, call: str, durability: str) -> None:
    assert shutil.which("strace"), "strace is needed: apt-get install strace"
    for number in count(1):
        root = tmp_path / str(number)
        told, killed = live_until(call, number, root, durability)
        if not killed:
            break
        check(root, told, durability)
    assert number > LEAST.get(call, 1) // 2
    assert (len(numbers(told, b"r")), len(numbers(told, b"l"))) == (9, 3)
    check(root, told, durability)
