"""Covers a disk that fails for good: nobody in the group or after it is answered as good, the worker is told once.

Real failures: a file size limit (short write, then EFBIG) and errors injected into system calls by strace. Leaves a
disk that fails once to test_start_over.py, one that is full to test_full_disk.py, the opening of a journal on a full
disk to test_writer.py.
"""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from shared.journal import JournalFailed, JournalWriter, StreamReader, streams
from tests.unit.journal.stream_builder import read_on, records_between
from tests.unit.journal.traced import run_writer
from tests.unit.journal.writing_process import FAILED_AS_PROMISED

NO_LIMIT = str(1 << 40)


def write_until_it_fails(root: Path, durability: str, segment_bytes: int, limit: str, inject: str = "") -> set[int]:
    """Runs a writer into the failure; gives the seqs it acknowledged."""
    injections = (inject,) if inject else ()
    run = run_writer(root, durability, segment_bytes, waiters=64, records=0, limit=limit, injections=injections)
    assert run.status == FAILED_AS_PROMISED, run.errors
    return run.acknowledged


def assert_all_kept(root: Path, acknowledged: set[int]) -> None:
    (path,) = streams(root)
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert finished
    assert gaps == []
    assert records == records_between(1, len(records))
    assert acknowledged <= set(range(1, len(records) + 1))


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_write_cut_short_by_the_limit_of_the_file_fails(tmp_path: Path, durability: str) -> None:
    # The limit lies inside space that is reserved already, so it is the write that runs into it.
    acknowledged = write_until_it_fails(tmp_path, durability, 64 << 20, "700001")
    assert len(acknowledged) > 500
    assert_all_kept(tmp_path, acknowledged)
    (path,) = streams(tmp_path)
    (segment,) = path.glob("*.seg")
    assert any(segment.read_bytes()[699_900:700_001])


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_reservation_that_fails_fails_the_group(tmp_path: Path, durability: str) -> None:
    # The limit is too small for what a segment reserves, so a new one is no way out.
    acknowledged = write_until_it_fails(tmp_path, durability, 64 << 20, str(4 << 20))
    assert len(acknowledged) > 5000
    assert_all_kept(tmp_path, acknowledged)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_sync_that_fails_again_answers_nobody(tmp_path: Path, error: str) -> None:
    acknowledged = write_until_it_fails(tmp_path, "fsync", 64 << 20, NO_LIMIT, f"fdatasync:error={error}:when=3+")
    assert acknowledged == set(range(1, 2 * 64 + 1))
    assert_all_kept(tmp_path, acknowledged)


@pytest.mark.parametrize("call", ["fsync", "rename,renameat,renameat2", "ftruncate"])
def test_a_rotation_that_fails_answers_nobody_beyond_it(tmp_path: Path, call: str) -> None:
    # Opening takes five syncs and two renames; a rotation two syncs, one rename and later the cut of the full segment.
    when = {"fsync": "8+", "ftruncate": "2+"}.get(call, "4+")
    acknowledged = write_until_it_fails(tmp_path, "fsync", 100_000, NO_LIMIT, f"{call}:error=EIO:when={when}")
    assert 64 <= len(acknowledged) < 2000
    assert_all_kept(tmp_path, acknowledged)


def test_with_os_a_failing_sync_of_a_full_segment_ends_the_journal(tmp_path: Path) -> None:
    acknowledged = write_until_it_fails(tmp_path, "os", 100_000, NO_LIMIT, "fdatasync:error=EIO:when=2+")
    assert_all_kept(tmp_path, acknowledged)


async def test_who_was_waiting_for_the_next_group_is_refused_with_the_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "fsync", on_failure=failures.append)
    may_fail = threading.Event()

    def worn_disk(fd: int) -> None:
        may_fail.wait()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", worn_disk)
    in_flight = [journal.append(0, b"{}") for _ in range(3)]
    await asyncio.sleep(0.02)
    collecting = [journal.append(0, b"{}") for _ in range(3)]
    gone = collecting[1]
    assert gone is not None
    gone.cancel()
    may_fail.set()
    waiters = [waiter for waiter in in_flight + collecting if waiter is not None]
    ends = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(end) for end in ends] == [JournalFailed] * 4 + [asyncio.CancelledError, JournalFailed]
    assert all(isinstance(end.__cause__, OSError) for end in ends if isinstance(end, JournalFailed))
    with pytest.raises(JournalFailed):
        journal.append(0, b"{}")
    await journal.close()
    assert len(failures) == 1
    assert journal.synced_seq == 0
