"""Covers a disk without space: what was answered as stored is there, what was not is counted, exactly; the last
reserve serves postbacks; the journal goes on when there is space again.

Leaves the limits that keep it from coming so far to test_limits.py, the loss page under kills to test_loss_page.py,
the opening of a journal on a full disk to test_writer.py.
"""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from shared.journal import JournalFull, JournalWriter, StreamReader, read_losses, streams
from shared.journal.record import HEAD_BYTES
from tests.unit.journal.full_disk_process import (
    a_rotation_finds_no_inode,
    closing_on_a_full_disk,
    the_disk_is_taken_by_others,
    until,
)
from tests.unit.journal.small_disk import run_on_small_disk
from tests.unit.journal.stream_builder import no_failure, payload_of, read_on, records_between
from tests.unit.journal.traced import run_writer

BOTH = pytest.mark.parametrize("durability", ["fsync", "os"])
PROCESS = "tests.unit.journal.full_disk_process"


@BOTH
def test_a_disk_that_others_fill_takes_back_clicks_and_keeps_postbacks(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", PROCESS, the_disk_is_taken_by_others.__name__, durability, size="40m")


@BOTH
def test_a_rotation_without_an_inode_leaves_the_old_segment_in_use(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", PROCESS, a_rotation_finds_no_inode.__name__, durability, size="60m", inodes=30)


@BOTH
def test_a_journal_is_closed_on_a_full_disk(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", PROCESS, closing_on_a_full_disk.__name__, durability)


@BOTH
@pytest.mark.parametrize("inject", ["fallocate:error=ENOSPC:when=4", "rename:error=ENOSPC:when=5"])
def test_no_space_in_the_middle_of_a_rotation_leaves_no_gap(tmp_path: Path, durability: str, inject: str) -> None:
    run = run_writer(tmp_path / "j", durability, 20_000, waiters=16, records=300, injections=(inject,))
    assert run.status == 0, run.errors
    assert any("INJECTED" in call for call in run.calls)
    assert run.lost >= 16
    (path,) = streams(tmp_path / "j")
    assert read_losses(path) == run.lost
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert (gaps, finished) == ([], True)
    assert records == records_between(1, max(run.acknowledged))
    assert run.acknowledged == set(range(1, len(records) + 1))


@BOTH
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_no_space_although_it_was_reserved_stores_nothing_of_the_group(
    tmp_path: Path, durability: str, error: str
) -> None:
    inject = f"write:error={error}:when=5"
    run = run_writer(tmp_path / "j", durability, 64 << 20, waiters=16, records=300, injections=(inject,))
    assert run.status == 0, run.errors
    assert run.lost >= 16
    (path,) = streams(tmp_path / "j")
    assert read_losses(path) == run.lost
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert (gaps, finished) == ([], True)
    assert run.acknowledged == set(range(1, len(records) + 1))
    assert records == records_between(1, len(records))


@BOTH
@pytest.mark.parametrize("whole", [0, 1, 7, 19])
@pytest.mark.parametrize("more", [1, 8, 30])
async def test_of_a_write_cut_short_what_a_reader_may_have_seen_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, whole: int, more: int
) -> None:
    journal = JournalWriter.open(tmp_path, "fsync" if durability == "fsync" else "os", on_failure=no_failure)
    await asyncio.gather(*(journal.append(seq % 7, payload_of(seq)) for seq in range(1, 11)))
    reader = StreamReader(journal.path)
    assert len(reader.read(100, 1 << 20).records) == 10

    written_before: list[int] = []
    seen_by_reader: list[int] = []
    write = os.write

    def full(fd: int, piece: bytes) -> int:
        if not written_before:
            written_before.append(write(fd, piece[:cut]))
            return written_before[0]
        monkeypatch.undo()
        seen_by_reader.extend(seq for seq, _, _ in reader.read(100, 1 << 20).records)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fill = [payload_of(seq) for seq in range(11, 31)]
    cut = sum(HEAD_BYTES + len(payload) for payload in fill[:whole]) + more
    monkeypatch.setattr(os, "write", full)
    ends = await asyncio.gather(*(journal.append(1, payload) for payload in fill), return_exceptions=True)
    assert [end is None for end in ends] == [n < whole for n in range(20)]
    assert all(isinstance(end, JournalFull) for end in ends[whole:])
    assert seen_by_reader == list(range(11, 11 + whole))
    assert journal.next_seq == 11 + whole
    assert journal.is_full

    await until(lambda: not journal.is_full)
    await asyncio.gather(*(journal.append(1, b"again %d" % n) for n in range(5)))
    await journal.close()
    later = [payload for _, _, payload in read_on(reader)[0]]
    assert later == [b"again %d" % n for n in range(5)]
    with StreamReader(journal.path) as fresh:
        records, gaps, finished = read_on(fresh)
    assert (gaps, finished) == ([], True)
    assert [payload for _, _, payload in records[10:]] == fill[:whole] + later
