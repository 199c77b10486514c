"""Covers the limits of the journal: when it is full, what of it counts, and that it recovers by itself.

Leaves a disk that is really full to test_full_disk.py, telling the writers what is consumed to
tests/integration/ingest/test_journal_source.py.
"""

import asyncio
import os
from pathlib import Path

import pytest

from shared.journal import (
    END,
    JournalFull,
    JournalLimits,
    JournalMeter,
    JournalWriter,
    Mark,
    StreamReader,
    free_bytes,
    read_consumed,
    write_consumed,
)
from shared.journal import limits as limits_module
from shared.journal.limits import Space
from shared.journal.stream import CONSUMED_NAME, SegmentName
from tests.unit.journal.full_disk_process import until
from tests.unit.journal.stream_builder import StreamOnDisk, no_failure, read_on

BOTH = pytest.mark.parametrize("durability", ["fsync", "os"])
MIB = 1 << 20


@pytest.mark.parametrize(
    ("journal", "free", "least_free", "may_grow"),
    [
        (0, 100, 0, True),
        (0, 99, 0, False),
        (49, 100, 0, True),
        (50, 100, 0, True),
        (51, 101, 0, False),
        (51, 102, 0, True),
        (999, 1998, 0, True),
        (1000, 9999, 0, False),
        (1001, 9999, 0, False),
        (10, 150, 151, False),
        (10, 151, 151, True),
    ],
)
def test_the_journal_stops_at_its_size_or_when_space_is_short(
    journal: int, free: int, least_free: int, may_grow: bool
) -> None:
    assert (JournalLimits(1000, 100).objection(journal, free, least_free) is None) == may_grow


def open_journal(root: Path, durability: str, limits: JournalLimits) -> JournalWriter:
    return JournalWriter.open(
        root, "fsync" if durability == "fsync" else "os", limits=limits, segment_bytes=MIB, on_failure=no_failure
    )


async def fill(journal: JournalWriter) -> int:
    """Appends until the journal is full; gives the number of records stored."""
    stored = 0
    while not journal.is_full:
        try:
            await asyncio.gather(*(journal.append(1, b"x" * 4000) for _ in range(10)))
        except JournalFull:
            break
        stored += 10
        await asyncio.sleep(0.005)
    return stored


@BOTH
async def test_a_journal_at_its_limit_refuses_until_it_is_consumed(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.journal.writer.CHECK_SECONDS", 0.02)
    journal = open_journal(tmp_path, durability, JournalLimits(3 * MIB, 0))
    stored = await fill(journal)
    assert 3 * MIB <= stored * 4021 < 8 * MIB
    assert "may have" in (journal.full_because or "")
    with pytest.raises(JournalFull):
        journal.append(1, b"{}")
    await journal.append(2, b"postback", reserved=True)

    with StreamReader(journal.path) as reader:
        records, _, finished = read_on(reader)
        assert (len(records), finished) == (stored + 1, False)
        mark = reader.mark
    assert mark is not None
    await asyncio.sleep(0.1)
    assert journal.is_full
    write_consumed(journal.path, stored + 2, mark)
    await until(lambda: not journal.is_full)
    await journal.append(1, b"{}")
    await journal.close()


async def test_the_journals_of_all_workers_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.journal.writer.CHECK_SECONDS", 0.02)
    one, other = (open_journal(tmp_path, "os", JournalLimits(2 * MIB, 0)) for _ in range(2))
    await fill(one)
    await until(lambda: other.is_full)
    with pytest.raises(JournalFull):
        other.append(1, b"{}")
    await one.close()
    assert other.is_full
    write_consumed(one.path, one.next_seq, END)
    await until(lambda: not other.is_full)
    await other.append(1, b"{}")
    await other.close()


async def test_free_space_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.journal.writer.CHECK_SECONDS", 0.02)
    free = [10 * MIB]
    monkeypatch.setattr(limits_module, "free_bytes", lambda path: free[0])
    journal = open_journal(tmp_path, "os", JournalLimits(1 << 40, 10 * MIB))
    await asyncio.sleep(0.1)
    await journal.append(1, b"{}")
    free[0] -= 1
    await until(lambda: journal.is_full)
    free[0] += 1
    await until(lambda: not journal.is_full)
    await journal.close()


async def refuses(journal: JournalWriter, payload: bytes) -> bool:
    try:
        await journal.append(2, payload, reserved=True)
    except JournalFull:
        return True
    return False


@BOTH
async def test_while_full_the_last_reserve_is_all_there_is(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path, durability, JournalLimits(0, 0))
    await until(lambda: journal.is_full)
    (segment,) = journal.path.glob("*.seg")
    size = segment.stat().st_size
    stored = 0
    while not await refuses(journal, bytes(10_000)):
        stored += 1
    # What ordinary records have not used yet is there as well.
    assert (MIB + (512 << 10)) // 10_021 - 1 <= stored <= (MIB + (512 << 10)) // 10_021
    assert segment.stat().st_size == size
    await journal.append(2, b"a small one still fits", reserved=True)
    await journal.close()
    with StreamReader(journal.path) as reader:
        records, gaps, finished = read_on(reader, max_bytes=1 << 30)
    assert (len(records), gaps, finished) == (stored + 1, [], True)


def test_a_look_from_before_the_disk_ran_out_changes_nothing(tmp_path: Path) -> None:
    space = Space(tmp_path / "stream", JournalLimits(1 << 40, 0), 1 << 60)
    space.run_out()
    space.measured(None, ran_out=False)
    assert space.full == "the disk has no space left"
    space.measured("still short", ran_out=True)
    assert space.full == "still short"
    space.measured(None, ran_out=True)
    assert space.full is None
    assert not space.has_run_out


def test_once_the_disk_ran_out_there_must_be_room_to_reserve(tmp_path: Path) -> None:
    (tmp_path / "stream").mkdir()
    space = Space(tmp_path / "stream", JournalLimits(1 << 40, 0), 1 << 60)
    assert space.measure(ran_out=False) is None
    assert space.measure(ran_out=True) is not None


# What counts as journal.


def test_only_what_is_not_consumed_counts(tmp_path: Path) -> None:
    meter = JournalMeter(tmp_path / "none")
    assert meter.unconsumed_bytes() == 0
    stream, other = StreamOnDisk(tmp_path), StreamOnDisk(tmp_path)
    sizes = [len(stream.add(first, first + 9)) for first in (1, 11, 21)]
    more = len(other.add(1, 5))
    meter = JournalMeter(tmp_path)
    assert meter.unconsumed_bytes() == sum(sizes) + more
    write_consumed(stream.path, 11, Mark(SegmentName(1), sizes[0]))
    assert meter.unconsumed_bytes() == sum(sizes[1:]) + more
    write_consumed(stream.path, 15, Mark(SegmentName(11), 100))
    assert meter.unconsumed_bytes() == sum(sizes[1:]) - 100 + more
    stream.segment(1).unlink()
    assert meter.unconsumed_bytes() == sum(sizes[1:]) - 100 + more
    write_consumed(stream.path, 25, Mark(SegmentName(21), 100))
    assert meter.unconsumed_bytes() == sizes[2] - 100 + more
    write_consumed(stream.path, 31, END)
    assert meter.unconsumed_bytes() == more


def test_space_that_is_only_reserved_does_not_count(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 10)
    fd = os.open(stream.segment(1), os.O_RDWR)
    os.posix_fallocate(fd, 0, 4 * MIB)
    os.close(fd)
    for _ in range(2):
        assert len(content) <= JournalMeter(tmp_path).unconsumed_bytes() <= len(content) + 4096
        # Reading brings the reserved space into the page cache, after which the file system takes it for data.
        stream.segment(1).read_bytes()
    stream.segment(1).write_bytes(b"")
    assert JournalMeter(tmp_path).unconsumed_bytes() == 0


def test_a_stream_is_measured_again_when_it_grows_and_forgotten_when_it_goes(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    size = len(stream.add(1, 10))
    meter = JournalMeter(tmp_path)
    long_ago = stream.path.stat().st_mtime - 60
    os.utime(stream.path, (long_ago, long_ago))
    assert meter.unconsumed_bytes() == size
    with stream.segment(1).open("ab") as file:
        file.write(b"x" * 1000)
    assert meter.unconsumed_bytes() == size + 1000
    second = len(stream.add(11, 20))
    assert meter.unconsumed_bytes() == size + 1000 + second
    for path in stream.path.iterdir():
        path.unlink()
    stream.path.rmdir()
    assert meter.unconsumed_bytes() == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"12", b"12 end", b"12 x.seg 4\n", b"12 00000000000000000001.seg\n", b"\xff\xfe", b"-1 end\n"],
    ids=range(7),
)
def test_a_hint_that_cannot_be_read_counts_everything(tmp_path: Path, content: bytes) -> None:
    stream = StreamOnDisk(tmp_path)
    size = len(stream.add(1, 10))
    (stream.path / CONSUMED_NAME).write_bytes(content)
    assert read_consumed(stream.path) is None
    assert JournalMeter(tmp_path).unconsumed_bytes() == size


@pytest.mark.parametrize("mark", [END, Mark(SegmentName(7), 12), Mark(SegmentName(7, 1), 0)], ids=["end", "7", "7.1"])
def test_what_is_said_is_read(tmp_path: Path, mark: Mark) -> None:
    write_consumed(tmp_path, 9, Mark(SegmentName(1), 1))
    write_consumed(tmp_path, 10, mark)
    assert read_consumed(tmp_path) == mark


def test_free_space_is_that_of_the_file_system(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    assert 0 < free_bytes(tmp_path) <= state.f_blocks * state.f_frsize
