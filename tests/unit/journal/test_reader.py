"""Covers reading of undamaged streams: order, bounds, seeking, rotation, dead and living ends, vanishing files.

Leaves damage to test_damage.py, killed writers to test_kill.py, deletion to test_retention.py.
"""

import os
import sys
import time
from io import BufferedReader
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from shared.journal import Gap, JournalWriter, ReadBatch, Record, StreamReader, stream_id, streams
from shared.journal.record import encode
from tests.unit.journal.stream_builder import StreamOnDisk, no_failure, payload_of, read_on, records_between

REPOSITORY = Path(__file__).parents[3]


def test_all_segments_are_read_in_order_and_then_the_stream_is_finished(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 40)
    stream.add(41, 41, reserved=10_000)
    stream.add(42, 3000, reserved=10_000)
    with StreamReader(stream.path) as reader:
        assert read_on(reader, max_records=7) == (records_between(1, 3000), [], True)
        assert reader.read(10, 1000) == ReadBatch([], [], 3001, True)


@pytest.mark.parametrize("next_seq", [0, 1, 2, 40, 41, 42, 99, 100, 101, 150, 151])
def test_reading_begins_where_it_is_asked_to(tmp_path: Path, next_seq: int) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 40)
    stream.add(41, 100)
    stream.add(101, 150)
    with StreamReader(stream.path, next_seq) as reader:
        records, gaps, finished = read_on(reader, max_records=11)
    assert (records, gaps, finished) == (records_between(max(next_seq, 1), 150), [], True)


def test_a_batch_ends_with_the_record_that_reaches_its_bytes(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 100)
    with StreamReader(stream.path) as reader:
        batch = reader.read(100, 5000)
        sizes = [len(encode(*record)) for record in batch.records]
        assert sum(sizes[:-1]) < 5000 <= sum(sizes)
        assert [seq for seq, _, _ in reader.read(100, 1).records] == [batch.next_seq]


def test_seeking_into_a_large_segment_still_gives_a_full_batch(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 9000)
    with StreamReader(stream.path, 8000) as reader:
        assert reader.read(5, 1 << 20).records == records_between(8000, 8004)


def test_segments_that_were_deleted_are_a_gap_only_when_they_are_wanted(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(41, 60)
    stream.add(81, 90)
    with StreamReader(stream.path, 41) as reader:
        assert read_on(reader)[1] == [Gap(61, 80, "missing")]
    with StreamReader(stream.path, 21) as reader:
        records, gaps, _ = read_on(reader)
    assert gaps == [Gap(21, 40, "missing"), Gap(61, 80, "missing")]
    assert records == records_between(41, 60) + records_between(81, 90)


def test_a_dead_stream_without_records_or_without_segments_is_finished(tmp_path: Path) -> None:
    empty, bare = StreamOnDisk(tmp_path), StreamOnDisk(tmp_path)
    empty.segment(1).write_bytes(empty.add(1, 1)[:38] + bytes(4096))
    for stream in (empty, bare):
        with StreamReader(stream.path) as reader:
            assert reader.read(10, 1000) == ReadBatch([], [], 1, True)


def test_a_living_stream_is_never_finished_and_gives_what_is_added(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    with stream.held(), StreamReader(stream.path) as reader:
        assert reader.read(10, 1000) == ReadBatch([], [], 1, False)
        stream.add(1, 4, reserved=4096)
        assert read_on(reader) == (records_between(1, 4), [], False)
        stream.add(1, 6, reserved=4096)
        assert read_on(reader) == (records_between(5, 6), [], False)
        stream.add(7, 9, reserved=4096)
        assert read_on(reader) == (records_between(7, 9), [], False)
    with StreamReader(stream.path, 10) as reader:
        assert reader.read(1, 1).finished


def test_what_is_written_between_a_look_and_the_death_of_the_writer_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3, reserved=4096)
    with StreamReader(stream.path) as reader:
        lock = reader._lock
        is_free = lock.is_free

        def last_words_before_the_lock_is_tested() -> bool:
            if not lock.free:
                stream.add(1, 5, reserved=4096)
                stream.add(6, 8)
            return is_free()

        monkeypatch.setattr(type(lock), "is_free", lambda _: last_words_before_the_lock_is_tested())
        batch = reader.read(100, 1 << 20)
    assert batch == ReadBatch(records_between(1, 8), [], 9, True)


def test_a_torn_tail_is_waited_for_while_the_writer_lives_and_dropped_when_it_is_dead(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 3)
    stream.segment(1).write_bytes(content + encode(4, 0, payload_of(4))[:-3] + bytes(100))
    with StreamReader(stream.path) as reader:
        with stream.held():
            assert read_on(reader) == (records_between(1, 3), [], False)
        assert reader.read(10, 1000) == ReadBatch([], [], 4, True)


def test_a_stream_that_vanishes_reads_as_finished(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    unread, half_read = StreamReader(stream.path), StreamReader(stream.path)
    assert half_read.read(1, 1).records == records_between(1, 1)
    for path in stream.path.iterdir():
        path.unlink()
    stream.path.rmdir()
    assert unread.read(10, 1000) == ReadBatch([], [], 1, True)
    assert read_on(half_read) == (records_between(2, 3), [], True)


def test_foreign_names_and_streams_not_born_yet_are_not_listed(tmp_path: Path) -> None:
    assert streams(tmp_path / "absent") == []
    stream = StreamOnDisk(tmp_path)
    (tmp_path / f".{'ab' * 16}").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ("AB" * 16)).mkdir()
    (tmp_path / ("cd" * 16)).touch()
    assert streams(tmp_path) == [stream.path]
    assert stream_id(stream.path) == stream.stream
    with pytest.raises(ValueError, match="not the name of a stream"):
        StreamReader(tmp_path / "lost+found")


def test_foreign_files_in_a_stream_are_not_read(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    (stream.path / f"{2:019}.seg").touch()
    (stream.path / f".{4:020}.seg").touch()
    (stream.path / f"{4:020}.seg.bak").touch()
    (stream.path / f"{4:020}.seg").symlink_to("nowhere")
    (stream.path / f"{9:020}.seg").mkdir()
    with StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 3), [], True)


def test_finished_and_closed_readers_leave_no_file_open(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    before = os.listdir("/proc/self/fd")
    finished = StreamReader(stream.path)
    read_on(finished)
    with stream.held(), StreamReader(stream.path) as idle:
        read_on(idle)
    assert os.listdir("/proc/self/fd") == before


def test_a_segment_that_left_the_time_of_the_directory_as_it_was_is_still_seen(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    now = time.time_ns()
    stream.add(1, 3)
    os.utime(stream.path, ns=(now, now))
    with stream.held(), StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 3), [], False)
        stream.add(4, 6)
        os.utime(stream.path, ns=(now, now))
        assert read_on(reader) == (records_between(4, 6), [], False)


async def test_idle_reads_notice_a_rotation_within_the_same_tick_of_the_clock(tmp_path: Path) -> None:
    journal = JournalWriter.open(tmp_path, "os", segment_bytes=200, on_failure=no_failure)
    with StreamReader(journal.path) as reader:
        for seq in range(1, 200):
            await journal.append(0, b"x" * 150)
            assert [r[0] for r in reader.read(10, 1000).records] == [seq]
            assert reader.read(10, 1000) == ReadBatch([], [], seq + 1, False)
    await journal.close()


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_a_reader_beside_the_writer_sees_every_record_once_and_no_damage(tmp_path: Path, durability: str) -> None:
    command = [sys.executable, "-m", "tests.unit.journal.writing_process", str(tmp_path), durability]
    with Popen([*command, "400000", "32", "20000"], cwd=REPOSITORY, stdout=PIPE) as child:
        assert isinstance(child.stdout, BufferedReader)
        child.stdout.read(8)
        (path,) = streams(tmp_path)
        records: list[Record] = []
        with StreamReader(path) as reader:
            while True:
                batch = reader.read(100, 1 << 20)
                assert batch.gaps == []
                records += batch.records
                if batch.finished:
                    break
                if len(batch.records) < 100:
                    child.stdout.read1(1 << 16)
        child.stdout.read()
    assert child.returncode == 0
    assert records == records_between(1, len(records))
    assert len(records) >= 20_000
