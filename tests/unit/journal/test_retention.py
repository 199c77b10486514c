"""Covers deletion: what is consumed and old goes, what is unread, young or being written never does.

Leaves what a reader makes of deleted segments to test_reader.py.
"""

import os
import time
from pathlib import Path

import pytest

from shared.journal import (
    JournalWriter,
    StreamReader,
    delete_consumed,
    delete_stillborn,
    kept_segments,
    streams,
    trim,
)
from shared.journal.loss_page import create_losses
from shared.journal.stream import SegmentName, list_segments
from tests.unit.journal.stream_builder import StreamOnDisk, no_failure, payload_of, read_on, records_between

KEEP = 3600.0


@pytest.fixture
def stream(tmp_path: Path) -> StreamOnDisk:
    """Dead, with three segments: 1–10, 11–20, 21–30."""
    made = StreamOnDisk(tmp_path)
    for first in (1, 11, 21):
        made.add(first, first + 9)
    return made


def first_seqs(stream: StreamOnDisk) -> list[int]:
    return [name.first_seq for name in list_segments(stream.path)]


def later() -> float:
    return time.time() + KEEP + 60


@pytest.mark.parametrize(
    ("next_seq", "left"),
    [(1, [1, 11, 21]), (10, [1, 11, 21]), (11, [11, 21]), (20, [11, 21]), (21, [21]), (30, [21])],
)
def test_only_segments_wholly_below_the_position_go(stream: StreamOnDisk, next_seq: int, left: list[int]) -> None:
    sizes = [stream.segment(first).stat().st_blocks * 512 for first in (1, 11, 21) if first not in left]
    assert delete_consumed(stream.path, next_seq, KEEP, later()) == sum(sizes)
    assert first_seqs(stream) == left
    with StreamReader(stream.path, next_seq) as reader:
        assert read_on(reader) == (records_between(next_seq, 30), [], True)


def test_a_dead_stream_goes_wholly_once_it_is_consumed(stream: StreamOnDisk) -> None:
    assert delete_consumed(stream.path, 31, KEEP, later()) > 0
    assert not stream.path.exists()
    assert delete_consumed(stream.path, 31, KEEP, later()) == 0


def test_nothing_goes_before_its_time(stream: StreamOnDisk) -> None:
    assert delete_consumed(stream.path, 31, KEEP, time.time()) == 0
    long_ago = time.time() - 2 * KEEP
    os.utime(stream.segment(1), (long_ago, long_ago))
    assert delete_consumed(stream.path, 31, KEEP, time.time()) > 0
    assert first_seqs(stream) == [11, 21]


def test_an_old_segment_behind_a_young_one_waits_for_it(stream: StreamOnDisk) -> None:
    long_ago = time.time() - 2 * KEEP
    os.utime(stream.segment(11), (long_ago, long_ago))
    assert delete_consumed(stream.path, 31, KEEP, time.time()) == 0


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_the_segment_of_a_living_writer_never_goes(tmp_path: Path, durability: str) -> None:
    journal = JournalWriter.open(
        tmp_path, "fsync" if durability == "fsync" else "os", segment_bytes=3000, on_failure=no_failure
    )
    for seq in range(1, 31):
        await journal.append(0, payload_of(seq))
    written = list_segments(journal.path)
    assert len(written) > 2
    assert delete_consumed(journal.path, journal.next_seq, KEEP, later()) > 0
    assert list_segments(journal.path) == written[-1:]
    assert delete_consumed(journal.path, journal.next_seq, KEEP, later()) == 0

    await journal.append(0, payload_of(31))
    with StreamReader(journal.path, 31) as reader:
        assert reader.read(10, 1000).records == [(31, 0, payload_of(31))]
    await journal.close()
    assert delete_consumed(journal.path, 31, KEEP, later()) == 0
    assert delete_consumed(journal.path, 32, KEEP, later()) > 0
    assert streams(tmp_path) == []


def test_records_found_only_behind_damage_keep_the_last_segment(stream: StreamOnDisk) -> None:
    content = bytearray(stream.segment(21).read_bytes())
    content[40:60] = bytes(20)
    stream.segment(21).write_bytes(content)
    assert delete_consumed(stream.path, 30, KEEP, later()) > 0
    assert first_seqs(stream) == [21]


def test_a_gap_that_nobody_declared_yet_keeps_the_last_segment(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.segment(21).write_bytes(stream.add(21, 21)[:38])
    assert delete_consumed(stream.path, 11, KEEP, later()) == 0
    assert delete_consumed(stream.path, 21, KEEP, later()) > 0
    assert streams(tmp_path) == []


def test_an_empty_dead_stream_goes_when_it_is_old(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    assert delete_consumed(stream.path, 1, KEEP, time.time()) == 0
    delete_consumed(stream.path, 1, KEEP, later())
    assert streams(tmp_path) == []


def test_a_file_that_is_not_ours_is_left_with_its_directory(stream: StreamOnDisk) -> None:
    (stream.path / "notes.txt").write_text("mine")
    (stream.path / f".{31:020}.seg").write_bytes(bytes(4096))
    assert delete_consumed(stream.path, 31, KEEP, later()) > 0
    assert os.listdir(stream.path) == ["notes.txt"]


def test_streams_that_were_never_born_go_when_they_are_old_and_nobody_holds_them(tmp_path: Path) -> None:
    dead, alive, young = (StreamOnDisk(tmp_path) for _ in range(3))
    long_ago = time.time() - 2 * KEEP
    for stream in (dead, alive, young):
        stream.add(1, 1)
        stream.path = stream.path.rename(stream.path.with_name(f".{stream.path.name}"))
        if stream is not young:
            os.utime(stream.path, (long_ago, long_ago))
    with alive.held():
        assert delete_stillborn(tmp_path, KEEP, time.time()) > 0
    assert not dead.path.exists()
    assert alive.path.exists()
    assert young.path.exists()


# What is only kept, and may go before its time.


def test_what_is_kept_is_what_lies_below_the_position(stream: StreamOnDisk) -> None:
    def firsts(next_seq: int, *, finished: bool = False) -> list[str]:
        return [kept.segment.name for kept in kept_segments(stream.path, next_seq, finished=finished)]

    names = [SegmentName(first).file for first in (1, 11, 21)]
    assert firsts(10) == []
    assert firsts(11) == names[:1]
    assert firsts(31) == names[:2], "a living writer may go on with the last one"
    assert firsts(31, finished=True) == names
    assert kept_segments(stream.path.with_name("gone"), 31) == []


def test_a_stream_with_losses_that_are_not_stored_keeps_its_last_segment(stream: StreamOnDisk) -> None:
    page = create_losses(stream.path, stream.stream)
    page.write(5)
    page.close()
    for stored, left in ((4, 2), (5, 3)):
        assert len(kept_segments(stream.path, 31, finished=True, losses_stored=stored)) == left
    assert delete_consumed(stream.path, 31, KEEP, later(), losses_stored=4) > 0
    assert stream.path.exists()
    assert delete_consumed(stream.path, 31, KEEP, later(), losses_stored=5) > 0
    assert not stream.path.exists()


def test_the_oldest_go_first_across_streams_and_in_order_within_each(tmp_path: Path) -> None:
    made = [StreamOnDisk(tmp_path) for _ in range(2)]
    for stream in made:
        for first in (1, 11):
            stream.add(first, first + 9)
    # The clock stepped back while the first stream was written.
    for stream, first, written_at in ((made[0], 1, 500), (made[0], 11, 100), (made[1], 1, 200), (made[1], 11, 600)):
        os.utime(stream.segment(first), (written_at, written_at))
    kept = [segment for stream in made for segment in kept_segments(stream.path, 21, finished=True)]
    gone = []
    for _ in range(4):
        assert trim(kept, 1) > 0
        gone.append(next(segment for segment in sorted(kept) if not segment.segment.exists()).segment)
        kept = [segment for segment in kept if segment.segment.exists()]
    assert gone == [made[1].segment(1), made[0].segment(1), made[0].segment(11), made[1].segment(11)]
    assert streams(tmp_path) == []


def test_no_more_is_trimmed_than_asked_for(stream: StreamOnDisk) -> None:
    kept = kept_segments(stream.path, 31, finished=True)
    assert trim(kept, 0) == 0
    assert trim(kept, kept[0].size) == kept[0].size
    assert first_seqs(stream) == [11, 21]
