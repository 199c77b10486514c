"""Covers, by strace, what no reader can see: each answer follows its sync, names are synced before records count.

Leaves what happens when these calls fail to test_disk_failure.py.
"""

import re
from pathlib import Path

import pytest

from tests.unit.journal.traced import run_writer, trace_losses

CALLS = "open,openat,mkdir,mkdirat,rename,renameat,renameat2,flock,fsync,fdatasync,write,writev,fallocate,ftruncate"


def trace(tmp_path: Path, durability: str, segment_bytes: int, waiters: int, records: int) -> list[str]:
    """The system calls of a writer in order of their end."""
    root = tmp_path / "journal"
    done = run_writer(root, durability, segment_bytes, waiters=waiters, records=records, traced=CALLS)
    assert done.status == 0, done.errors
    return done.calls


def steps(lines: list[str], patterns: dict[str, str]) -> list[str]:
    """The traced calls that any pattern matches, each by its pattern's name."""
    found = []
    for line in lines:
        found += [name for name, pattern in patterns.items() if re.search(pattern, line)]
    return found


WRITE = {"write": r"^write\(\d+<.*\.seg>", "sync": r"^fdatasync\(\d+<.*\.seg>\) += 0", "answer": r"^writev\(1<"}


def test_with_fsync_every_answer_follows_the_sync_of_its_record(tmp_path: Path) -> None:
    lines = trace(tmp_path, "fsync", 64 << 20, waiters=1, records=8)
    assert steps(lines, WRITE)[1:] == ["write", "sync", "answer"] * 8 + ["sync"]


def test_with_os_every_answer_follows_its_write_and_no_sync(tmp_path: Path) -> None:
    lines = trace(tmp_path, "os", 64 << 20, waiters=1, records=8)
    assert steps(lines, WRITE)[1:] == ["write", "answer"] * 8 + ["sync"]


@pytest.mark.parametrize(("durability", "each"), [("fsync", ["page", "sync", "answer"]), ("os", ["page", "answer"])])
def test_every_answer_to_a_lost_click_follows_its_count(tmp_path: Path, durability: str, each: list[str]) -> None:
    patterns = {
        "page": r"^pwrite64\(\d+<.*/losses>",
        "sync": r"^fdatasync\(\d+<.*/losses>\) += 0",
        "answer": r"^write\(1<.*\"\.\"",
        "record": r"^write\(\d+<.*/[0-9a-f]{32}/\d+.seg>",
        "reservation": r"^fallocate\(.*/[0-9a-f]{32}/",
    }
    assert steps(trace_losses(tmp_path / "journal", durability), patterns) == each * 20 + ["sync"]


def test_a_group_is_one_write_and_one_sync(tmp_path: Path) -> None:
    lines = trace(tmp_path, "fsync", 64 << 20, waiters=64, records=640)
    taken = steps(lines, WRITE)
    assert taken.count("answer") >= 640
    assert taken.count("write") == taken.count("sync") <= 13


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_stream_is_locked_and_synced_before_it_is_seen_and_seen_before_it_counts(
    tmp_path: Path, durability: str
) -> None:
    lines = trace(tmp_path, durability, 64 << 20, waiters=1, records=1)
    hidden, seen = r"/journal/\.[0-9a-f]{32}", r"/journal/[0-9a-f]{32}"
    assert steps(
        lines,
        {
            "hidden": rf"^mkdir\w*\(.*{hidden}\"",
            "locked": rf"^flock\(\d+<.*{hidden}/lock>, LOCK_EX",
            "reserved": rf"^fallocate\(\d+<.*{hidden}/\.0+1\.seg>, 0, 0, 4718592\) += 0",
            "segment synced": rf"^fsync\(\d+<.*{hidden}/\.0+1\.seg>\) += 0",
            "segment named": rf"^rename\(.*{hidden}/\.0+1\.seg\"",
            "stream synced": rf"^fsync\(\d+<.*{hidden}>\) += 0",
            "seen": rf"^rename\(.*{hidden}\", ",
            "root synced": r"^fsync\(\d+<.*/journal>\) += 0",
            "record": rf"^write\(\d+<.*{seen}/0+1\.seg>",
            "answer": r"^writev\(1<",
        },
    ) == [
        *("hidden", "locked", "reserved", "segment synced", "segment named", "stream synced"),
        *("seen", "root synced", "record", "answer"),
    ]


def test_with_fsync_a_new_segment_is_on_disk_by_name_before_its_records_count(tmp_path: Path) -> None:
    lines = trace(tmp_path, "fsync", 500, waiters=1, records=12)
    taken = steps(
        lines,
        {
            "named": r"^rename\(.*\.seg\"",
            "synced": r"^fsync\(\d+<.*/journal/[0-9a-f]{32}>\) += 0",
            "answer": r"^writev\(1<",
        },
    )
    rotations = [at for at, step in enumerate(taken) if step == "named"][1:]
    assert len(rotations) >= 3
    assert all(taken[at + 1] == "synced" for at in rotations)


def test_every_descriptor_is_closed_on_exec(tmp_path: Path) -> None:
    opened = [line for line in trace(tmp_path, "os", 500, 1, 5) if re.search(r"^open\w*\(.*/journal[/\"]", line)]
    assert len(opened) > 4
    assert all("O_CLOEXEC" in line for line in opened)
