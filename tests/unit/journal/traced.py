"""Runs `writing_process` under strace: errors injected into its system calls, and the calls themselves as a list."""

import os
import re
import shutil
import sys
from pathlib import Path
from subprocess import run
from typing import NamedTuple

from tests.unit.journal.writing_process import LOST

REPOSITORY = Path(__file__).parents[3]


class Run(NamedTuple):
    status: int
    acknowledged: set[int]
    lost: int
    """Losses that were acknowledged."""
    calls: list[str]
    """In order of their end: name, arguments with paths of descriptors, result."""
    errors: str


def run_writer(
    root: Path,
    durability: str,
    segment_bytes: int,
    *,
    waiters: int,
    records: int,
    limit: str = "0",
    injections: tuple[str, ...] = (),
    traced: str = "",
) -> Run:
    """The whole life of a writer. `injections` as strace's `inject=`, whose `when` counts the calls of each thread;
    `traced`: the calls to be given besides those."""
    command = [sys.executable, "-m", "tests.unit.journal.writing_process", str(root), durability]
    command += [str(segment_bytes), str(waiters), str(records), limit]
    out = root.with_name(root.name + ".strace")
    if injections or traced:
        assert shutil.which("strace"), "strace is needed: apt-get install strace"
        calls = ",".join([injection.partition(":")[0] for injection in injections] + ([traced] if traced else []))
        strace = ["strace", "-f", "-y", "-qq", "-s", "40", "-o", str(out), "-e", f"trace={calls}"]
        for injection in injections:
            strace += ["-e", f"inject={injection}"]
        command = [*strace, *command]
    # Compiled modules are not saved: their renames would be counted with the journal's.
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = run(command, cwd=REPOSITORY, env=environ, capture_output=True, check=False, timeout=60)
    numbers = [int.from_bytes(done.stdout[at : at + 8], "little") for at in range(0, len(done.stdout) - 7, 8)]
    acknowledged = {number for number in numbers if not number & LOST}
    calls_made = whole_calls(out.read_text()) if out.exists() else []
    return Run(done.returncode, acknowledged, len(numbers) - len(acknowledged), calls_made, done.stderr.decode())


def trace_losses(root: Path, durability: str) -> list[str]:
    """The system calls of a worker that answers some clicks on a journal that is full from the start."""
    assert shutil.which("strace"), "strace is needed: apt-get install strace"
    out = root.with_name(root.name + ".strace")
    command = ["strace", "-f", "-y", "-qq", "-o", str(out), "-e", "trace=pwrite64,fdatasync,write,fallocate"]
    command += [sys.executable, "-m", "tests.unit.journal.losing_process", str(root), durability, "1", "20"]
    done = run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return whole_calls(out.read_text())


def whole_calls(trace: str) -> list[str]:
    """strace's lines with those that other threads interrupted put together again."""
    lines, begun = [], dict[str, str]()
    for line in trace.splitlines():
        thread, call = line.split(maxsplit=1)
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", call):
            call = begun.pop(thread) + call[resumed.end() :]
        lines.append(call)
    return lines
