"""Covers a disk without space: what was answered as stored is there, what was not is counted, exactly; the last
reserve serves postbacks; the journal goes on when there is space again.

Leaves the limits that keep it from coming so far to test_limits.py, the loss page under kills to test_loss_page.py,
the opening of a journal on a full disk to test_writer.py.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from subprocess import run

import pytest

from shared.journal import Done, JournalFailed, JournalFull, JournalWriter, StreamReader, read_losses, streams
from shared.journal.group import Group, take_back
from shared.journal.record import HEAD_BYTES, encode
from shared.journal.segment import NoRoom, OpenSegment
from shared.journal.stream import SegmentName, list_segments
from tests.small_disk import SmallDisk
from tests.unit.journal.full_disk_process import (
    a_rotation_finds_no_inode,
    closing_on_a_full_disk,
    opening_on_a_full_disk,
    the_disk_is_taken_by_others,
    until,
)
from tests.unit.journal.stream_builder import no_failure, payload_of, read_on, records_between
from tests.unit.journal.traced import REPOSITORY, run_writer

BOTH = pytest.mark.parametrize("durability", ["fsync", "os"])
MIB = 1 << 20


def run_on_small_disk(folder: Path, scenario: str, durability: str, size: int = 16 * MIB, inodes: int = 1000) -> None:
    """Plays a scenario of `full_disk_process` on a disk of `size` bytes; fails when that fails."""
    with SmallDisk(folder, size, inodes) as disk:
        command = [sys.executable, "-m", "tests.unit.journal.full_disk_process"]
        command += [str(disk.path), scenario, durability]
        done = run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


@BOTH
def test_a_disk_that_others_fill_takes_back_clicks_and_keeps_postbacks(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", the_disk_is_taken_by_others.__name__, durability, size=40 * MIB)


@BOTH
def test_a_rotation_without_an_inode_leaves_the_old_segment_in_use(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", a_rotation_finds_no_inode.__name__, durability, size=60 * MIB, inodes=30)


@BOTH
def test_a_journal_that_is_opened_on_a_full_disk_declares_and_later_records(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", opening_on_a_full_disk.__name__, durability)


@BOTH
def test_a_journal_is_closed_on_a_full_disk(tmp_path: Path, durability: str) -> None:
    run_on_small_disk(tmp_path / "disk", closing_on_a_full_disk.__name__, durability)


@BOTH
@pytest.mark.parametrize("inject", ["fallocate:error=ENOSPC:when=4", "rename:error=ENOSPC:when=5"])
def test_no_space_in_the_middle_of_a_rotation_leaves_no_gap(tmp_path: Path, durability: str, inject: str) -> None:
    run = run_writer(tmp_path / "j", durability, 20_000, waiters=16, records=300, injections=(inject,))
    assert run.status == 0, run.errors
    assert any("INJECTED" in call for call in run.calls)
    assert run.lost >= 16
    (path,) = streams(tmp_path / "j")
    assert list(path.glob(".*")) == []
    assert {name.attempt for name in list_segments(path)} == {0}
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


def test_a_reservation_that_fails_half_way_gives_back_what_it_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = OpenSegment.create(tmp_path, bytes(16), SegmentName(1), 64 << 20, durable=False)
    before = os.fstat(segment.fd)
    fallocate = os.posix_fallocate

    def full(fd: int, start: int, size: int) -> None:
        fallocate(fd, start, size // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoRoom):
        segment.make_room(5 << 20)
    after = os.fstat(segment.fd)
    assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks)
    segment.close()


# What becomes of the records of a group without room, and of those behind it.


def taken(first_seq: int, reserved: str, *, from_reserve: bool = False) -> Group:
    """A group with one record a letter: `p` may use the last reserve, `c` may not."""
    seqs = range(first_seq, first_seq + len(reserved))
    waiters: list[Done] = [partial(waiter_of, seq) for seq in seqs]
    may = [seq for seq, letter in zip(seqs, reserved, strict=True) if letter == "p"]
    return Group(first_seq, [encode(seq, 1, payload_of(seq)) for seq in seqs], waiters, may, from_reserve, 0, [])


def waiter_of(seq: int, refusal: JournalFull | JournalFailed | None) -> None:
    raise AssertionError("nobody is told here")


def seqs_of(waiters: Iterable[Done]) -> list[int]:
    return [done.args[0] for done in waiters if isinstance(done, partial)]


@pytest.mark.parametrize(
    ("group", "stored", "behind", "again", "refused"),
    [
        (taken(11, "cpcp"), 0, taken(15, "cp"), [12, 14, 16], [11, 13, 15]),
        (taken(11, "cpcp"), 1, taken(15, "cp"), [12, 14, 16], [13, 15]),
        (taken(11, "cpcp"), 3, taken(15, ""), [14], []),
        (taken(11, "ccc"), 0, taken(14, "cc"), [], [11, 12, 13, 14, 15]),
        (taken(11, "pp", from_reserve=True), 0, taken(13, "pc"), [13, 14], [11, 12]),
        (taken(11, "pp", from_reserve=True), 1, taken(13, ""), [], [12]),
    ],
)
def test_what_may_use_the_last_reserve_closes_up(
    group: Group, stored: int, behind: Group, again: list[int], refused: list[int]
) -> None:
    retried, told = take_back(group, stored, behind)
    assert seqs_of(retried.waiters) == again
    assert seqs_of(told) == refused
    assert retried.first_seq == group.first_seq + stored
    seqs = range(retried.first_seq, retried.first_seq + len(again))
    assert retried.records == [encode(seq, 1, payload_of(old)) for seq, old in zip(seqs, again, strict=True)]
    reserved = {*group.reserved, *behind.reserved}
    assert retried.reserved == [seq for seq, old in zip(seqs, again, strict=True) if old in reserved]
