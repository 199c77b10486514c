"""Covers a disk that fails once: the segment is never trusted again, what was not confirmed is written to a new one
with the same seqs, and a reader takes each record once, while that happens and after, whatever became of the old one.

Leaves a disk that fails again to test_disk_failure.py, and ENOSPC to test_full_disk.py.
"""

import asyncio
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.journal import Gap, JournalWriter, ReadBatch, StreamReader, streams
from shared.journal.record import encode
from shared.journal.stream import SegmentName, list_segments
from tests.unit.journal.stream_builder import (
    StreamOnDisk,
    covered,
    no_failure,
    payload_of,
    read_on,
    records_between,
    segment_bytes,
)
from tests.unit.journal.traced import run_writer


def read_all(path: Path) -> list[tuple[int, int, bytes]]:
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert (gaps, finished) == ([], True)
    return records


@pytest.mark.parametrize("when", [1, 2, 3, 9])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_sync_is_not_trusted_again_and_every_record_is_answered(tmp_path: Path, error: str, when: int) -> None:
    inject = f"fdatasync:error={error}:when={when}"
    run = run_writer(
        tmp_path / "j",
        "fsync",
        64 << 20,
        waiters=16,
        records=400,
        injections=(inject,),
        traced="write,writev,ftruncate",
    )
    assert run.status == 0, run.errors
    assert run.acknowledged >= set(range(1, 401))
    assert run.lost == 0
    (path,) = streams(tmp_path / "j")
    assert read_all(path) == records_between(1, max(run.acknowledged))
    confirmed = 16 * (when - 1)
    again = SegmentName(1, 1) if confirmed == 0 else SegmentName(confirmed + 1)
    assert list_segments(path) == [SegmentName(1), again]

    failed_at = next(at for at, call in enumerate(run.calls) if "INJECTED" in call)
    of_the_failed = [call for call in run.calls[failed_at + 1 :] if f"/{SegmentName(1).file}>" in call]
    assert of_the_failed == []
    answers = [at for at, call in enumerate(run.calls) if call.startswith("writev(1<")]
    synced = next(at for at in range(failed_at + 1, len(run.calls)) if re.match(r"fdatasync.* = 0$", run.calls[at]))
    assert not any(failed_at < at < synced for at in answers)
    assert len([at for at in answers if at < failed_at]) == confirmed


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("when", [4, 5, 10])
def test_a_failed_write_is_made_good_in_a_new_segment(tmp_path: Path, durability: str, when: int) -> None:
    # The stream's birth takes three writes.
    run = run_writer(
        tmp_path / "j", durability, 64 << 20, waiters=16, records=400, injections=(f"write:error=EIO:when={when}",)
    )
    assert run.status == 0, run.errors
    assert run.acknowledged >= set(range(1, 401))
    (path,) = streams(tmp_path / "j")
    assert read_all(path) == records_between(1, max(run.acknowledged))
    assert len(list_segments(path)) == 2


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_rotation_that_fails_once_is_tried_again(tmp_path: Path, call: str) -> None:
    inject = {"fsync": "fsync:error=EIO:when=8", "rename": "rename:error=EIO:when=4"}[call]
    run = run_writer(tmp_path / "j", "fsync", 20_000, waiters=16, records=400, injections=(inject,))
    assert run.status == 0, run.errors
    assert any("INJECTED" in made for made in run.calls)
    (path,) = streams(tmp_path / "j")
    assert read_all(path) == records_between(1, max(run.acknowledged))
    assert run.acknowledged >= set(range(1, 401))


class FailingOnce:
    """The one call of `os` with this number fails, after it did its work or before."""

    def __init__(self, name: str, number: int, *, after: bool) -> None:
        self._call: Callable[..., Any] = getattr(os, name)
        self._countdown = number
        self._after = after

    def __call__(self, *args: Any) -> Any:
        self._countdown -= 1
        if self._countdown == 0 and not self._after:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        result = self._call(*args)
        if self._countdown == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return result


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_a_live_reader_takes_each_record_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    journal = JournalWriter.open(tmp_path, "fsync", on_failure=no_failure)
    reader = StreamReader(journal.path)
    found: list[tuple[int, int, bytes]] = []

    def read() -> None:
        batch = reader.read(step, 1 << 20)
        assert batch.gaps == []
        found.extend(batch.records)

    async def write(count: int) -> None:
        waiting = []
        for _ in range(count):
            seq = journal.next_seq
            waiting.append(journal.append(seq % 7, payload_of(seq)))
        while not all(waiter.done() for waiter in waiting):
            read()
            await asyncio.sleep(0)

    for failing_at in (1, 3, 2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", FailingOnce("fdatasync", failing_at, after=False))
            for _ in range(4):
                await write(10)
    assert journal.abandoned_segments == 3
    await journal.close()
    while not reader.read(0, 0).finished:
        before = len(found)
        read()
        if len(found) == before:
            break
    assert found == records_between(1, 120)
    assert read_all(journal.path) == records_between(1, 120)


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_what_a_failed_write_left_half_done_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    journal = JournalWriter.open(tmp_path, "fsync" if durability == "fsync" else "os", on_failure=no_failure)
    await asyncio.gather(*(journal.append(seq % 7, payload_of(seq)) for seq in range(1, 11)))
    write, halves = os.write, [True]

    def torn(fd: int, piece: bytes) -> int:
        if halves:
            halves.clear()
            write(fd, piece[: len(piece) // 2])
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(fd, piece)

    monkeypatch.setattr(os, "write", torn)
    await asyncio.gather(*(journal.append(seq % 7, payload_of(seq)) for seq in range(11, 31)))
    monkeypatch.undo()
    await journal.append(31 % 7, payload_of(31))
    await journal.close()
    assert list_segments(journal.path) == [SegmentName(1), SegmentName(11)]
    assert read_all(journal.path) == records_between(1, 31)


# The old segment holds 1–30, of which 1–20 were confirmed; the new one begins with 21 and goes on to 40.


def overlap(root: Path) -> tuple[StreamOnDisk, bytes, int]:
    """The stream, what the old segment holds, and where in it the unconfirmed tail begins."""
    stream = StreamOnDisk(root)
    content = stream.add(1, 30, reserved=4096)
    stream.add(21, 40)
    return stream, content, len(segment_bytes(stream.stream, records_between(1, 20)))


@pytest.mark.parametrize("next_seq", [1, 15, 20, 21, 25, 30, 31, 35, 41])
@pytest.mark.parametrize("alive", [False, True], ids=["dead", "alive"])
@pytest.mark.parametrize("tail", ["intact", "torn", "zeroed", "missing"])
def test_an_overlap_is_read_once_whatever_the_old_tail_is(
    tmp_path: Path, tail: str, alive: bool, next_seq: int
) -> None:
    stream, content, confirmed = overlap(tmp_path)
    middle = (confirmed + len(content)) // 2
    stream.segment(1).write_bytes(
        {
            "intact": content + bytes(4096),
            "torn": content[:middle] + bytes(4096),
            "zeroed": content[:confirmed] + bytes(4096),
            "missing": content[:confirmed],
        }[tail]
    )
    with StreamReader(stream.path, next_seq) as reader:
        if alive:
            with stream.held():
                records, gaps, finished = read_on(reader, max_records=3)
            assert not finished
        else:
            records, gaps, finished = read_on(reader, max_records=3)
    assert (records, gaps) == (records_between(next_seq, 40), [])


def test_every_bit_flip_in_the_old_tail_costs_nothing(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    confirmed = segment_bytes(stream.stream, [(1, 0, b"{}"), (2, 0, b'{"a":1}')])
    tail = encode(3, 1, b'{"b":22}') + encode(4, 2, b"{}")
    records = [(1, 0, b"{}"), (2, 0, b'{"a":1}'), (3, 1, b'{"b":22}'), (4, 2, b"{}"), (5, 0, b"{}")]
    stream.segment(3).write_bytes(segment_bytes(stream.stream, records[2:]))
    for at in range(len(tail)):
        for bit in range(8):
            damaged = bytearray(tail)
            damaged[at] ^= 1 << bit
            stream.segment(1).write_bytes(confirmed + damaged)
            with StreamReader(stream.path) as reader:
                assert read_on(reader) == (records, [], True), (at, bit)


def test_every_bit_flip_in_a_small_record_costs_that_record_alone(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    records = [(1, 0, b"{}"), (2, 1, b'{"a":1}'), (3, 2, b"{}")]
    content = segment_bytes(stream.stream, records)
    second = encode(*records[1])
    place = content.index(second)
    for at in range(place, place + len(second)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            stream.segment(1).write_bytes(damaged)
            with StreamReader(stream.path) as reader:
                assert read_on(reader) == ([records[0], records[2]], [Gap(2, 2, "damaged")], True), (at, bit)


def test_damage_before_the_overlap_is_a_gap_and_damage_in_the_new_segment_is_read_from_the_old(tmp_path: Path) -> None:
    stream, content, _ = overlap(tmp_path)
    old, new = bytearray(content), bytearray(stream.segment(21).read_bytes())
    tenth, twentyfifth = encode(*records_between(10, 10)[0]), encode(*records_between(25, 25)[0])
    old[content.index(tenth)] ^= 1
    new[bytes(new).index(twentyfifth)] ^= 1
    stream.segment(1).write_bytes(content)
    stream.segment(21).write_bytes(new)
    with StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 40), [], True)
    stream.segment(1).write_bytes(old)
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader)
    assert finished
    assert Gap(10, 10, "damaged") in gaps
    assert covered(records, gaps) == list(range(1, 41))


def test_a_new_segment_under_the_same_first_seq_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 10)
    with stream.held(), StreamReader(stream.path) as reader:
        assert reader.read(4, 1 << 20).records == records_between(1, 4)
        again = stream.path / SegmentName(1, 1).file
        again.write_bytes(segment_bytes(stream.stream, records_between(1, 30)))
        records, gaps, finished = read_on(reader)
        assert (records, gaps, finished) == (records_between(5, 30), [], False)
    assert read_all(stream.path) == records_between(1, 30)
    with StreamReader(stream.path, 31) as reader:
        assert reader.read(10, 1000) == ReadBatch([], [], 31, True)
