"""Covers what a writer announces: within about a second and at its end, never above what is synced, on a disk without
space and one that fails; and that a reader misses what was announced and is not there.

Leaves what the books make of it to tests/integration/books.
"""

import asyncio
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable

import pytest

from shared.journal import FIRST_SEQ, Gap, JournalLimits, JournalWriter, StreamReader, delete_consumed, read_announced
from shared.journal.announced import create_announced
from shared.journal.stream import ANNOUNCED_NAME, streams
from tests.small_disk import SmallDisk
from tests.unit.journal.stream_builder import StreamOnDisk, no_failure, payload_of, read_on
from tests.unit.journal.traced import REPOSITORY

BOTH = pytest.mark.parametrize("durability", ["fsync", "os"])
MIB = 1 << 20


def open_journal(root: Path, durability: str, limits: JournalLimits | None = None) -> JournalWriter:
    return JournalWriter.open(
        root,
        "fsync" if durability == "fsync" else "os",
        limits=limits or JournalLimits(1 << 40, 0),
        on_failure=no_failure,
    )


async def until_announced(path: Path, seq: int, seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while read_announced(path) != seq:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def announcing(seq: int, stream: StreamOnDisk) -> None:
    page = create_announced(stream.path, stream.stream)
    page.write(seq)
    page.close()


# What is announced.


@BOTH
async def test_a_living_writer_announces_within_a_second_or_two_and_at_its_end(tmp_path: Path, durability: str) -> None:
    journal = open_journal(tmp_path, durability)
    assert read_announced(journal.path) == FIRST_SEQ - 1
    for _ in range(5):
        await journal.append(1, b"{}")
    await until_announced(journal.path, 5)
    for _ in range(3):
        await journal.append(1, b"{}")
    await journal.close()
    assert read_announced(journal.path) == 8


@BOTH
def test_after_a_kill_no_more_is_announced_than_is_there(tmp_path: Path, durability: str) -> None:
    command = [executable, "-m", "tests.unit.journal.writing_process", str(tmp_path), durability]
    with Popen([*command, str(1 << 16), "16", "1000000", "0"], cwd=REPOSITORY, stdout=PIPE) as child:
        assert isinstance(child.stdout, BufferedReader)
        child.stdout.read(1)
        deadline = time.monotonic() + 2.2
        while time.monotonic() < deadline:
            child.stdout.read1(1 << 16)
        child.kill()
        child.stdout.read()
    (path,) = streams(tmp_path)
    announced = read_announced(path)
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert (gaps, finished) == ([], True)
    assert announced is not None
    assert 0 < announced <= len(records)


@BOTH
async def test_a_disk_without_a_byte_takes_it(tmp_path: Path, durability: str) -> None:
    with SmallDisk(tmp_path / "disk", 16 * MIB) as disk:
        journal = open_journal(disk.path / "journal", durability)
        await journal.append(1, b"{}")
        disk.fill()
        assert disk.free() == 0
        await journal.append(1, b"{}")
        await until_announced(journal.path, 2)
        assert disk.free() == 0
        await journal.close()


@BOTH
async def test_an_announcement_that_fails_harms_no_record_and_is_made_up_for(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path, durability)
    failed: list[int] = []

    def worn_disk(fd: int, piece: bytes, at: int) -> int:
        failed.append(at)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", worn_disk)
        await journal.append(1, b"{}")
        async with asyncio.timeout(3):
            while not failed:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await journal.append(1, b"{}")
        assert read_announced(journal.path) == FIRST_SEQ - 1
    await until_announced(journal.path, 2)
    await journal.close()


def test_a_torn_page_says_what_it_said_before_and_a_foreign_one_nothing(tmp_path: Path) -> None:
    ours, theirs = StreamOnDisk(tmp_path), StreamOnDisk(tmp_path)
    announcing(7, ours)
    page = (ours.path / ANNOUNCED_NAME).read_bytes()
    for torn_at in range(32):
        (ours.path / ANNOUNCED_NAME).write_bytes(page[:torn_at] + secrets.token_bytes(36 - torn_at) + page[36:])
        assert read_announced(ours.path) == FIRST_SEQ - 1, torn_at
    (ours.path / ANNOUNCED_NAME).write_bytes(b"")
    assert read_announced(ours.path) is None
    announcing(9, theirs)
    (theirs.path / ANNOUNCED_NAME).rename(ours.path / ANNOUNCED_NAME)
    assert read_announced(ours.path) is None
    assert read_announced(theirs.path) is None


# What is missed.


def cut_the_tail(stream: StreamOnDisk, whole: bytes) -> int:
    stream.segment(11).write_bytes(whole[:-1])
    return 15


def zero_the_tail(stream: StreamOnDisk, whole: bytes) -> int:
    start = whole.index(payload_of(14)) - 10
    stream.segment(11).write_bytes(whole[:start] + bytes(len(whole) - start))
    return 14


def delete_the_last_segment(stream: StreamOnDisk, whole: bytes) -> int:
    stream.segment(11).unlink()
    return 11


def delete_every_segment(stream: StreamOnDisk, whole: bytes) -> int:
    stream.segment(1).unlink()
    stream.segment(11).unlink()
    return 1


@pytest.mark.parametrize("harm", [cut_the_tail, zero_the_tail, delete_the_last_segment, delete_every_segment])
@pytest.mark.parametrize("step", [1, 1000])
def test_what_was_announced_and_is_gone_is_missing(
    tmp_path: Path, harm: Callable[[StreamOnDisk, bytes], int], step: int
) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 10)
    whole = stream.add(11, 15)
    announcing(15, stream)
    with StreamReader(stream.path) as reader:
        assert read_on(reader, step)[1:] == ([], True)
    first_gone = harm(stream, whole)
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader, step)
    assert [seq for seq, _, _ in records] == list(range(1, first_gone))
    assert (gaps, finished) == ([Gap(first_gone, 15, "missing")], True)
    with StreamReader(stream.path, 16) as reader:
        assert read_on(reader) == ([], [], True), "what is settled is not missed again"


def test_a_living_stream_and_one_without_a_page_miss_nothing(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    announcing(9, stream)
    with stream.held(), StreamReader(stream.path) as reader:
        assert read_on(reader)[1:] == ([], False)
    (stream.path / ANNOUNCED_NAME).unlink()
    with StreamReader(stream.path) as reader:
        assert read_on(reader)[1:] == ([], True)


def test_a_living_stream_whose_next_segment_vanishes_in_a_look_misses_nothing_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    stream.add(4, 6)
    announcing(9, stream)
    reader = StreamReader(stream.path)
    look = reader._nothing_can_follow

    def look_and_lose() -> bool:
        found = look()
        if reader._name.first_seq == 1:
            stream.segment(4).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(reader, "_nothing_can_follow", look_and_lose)
    with stream.held(), reader:
        records, gaps, _ = read_on(reader)
    assert (len(records), gaps) == (3, [])


def test_records_behind_the_last_announcement_are_given(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 8)
    announcing(5, stream)
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader)
    assert (len(records), gaps, finished) == (8, [], True)


def test_a_page_on_a_bad_sector_does_not_keep_the_stream_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamOnDisk(tmp_path)
    stream.add(1, 3)
    announcing(3, stream)

    def unreadable(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    with StreamReader(stream.path) as reader:
        assert read_on(reader)[1:] == ([], True)


def test_a_stream_goes_with_its_page_and_not_before_the_missing_ones_are_settled(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    whole = stream.add(1, 10)
    announcing(10, stream)
    stream.segment(1).write_bytes(whole[:-1])
    later = time.time() + 60
    assert delete_consumed(stream.path, 10, 0.0, later) == 0
    assert stream.path.exists()
    assert delete_consumed(stream.path, 11, 0.0, later) > 0
    assert not stream.path.exists()


async def test_a_born_stream_has_a_page_and_a_copy_elsewhere_still_reads(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "here", "os")
    await journal.append(1, b"{}")
    await journal.close()
    copy = shutil.copytree(journal.path, tmp_path / "there" / journal.path.name)
    assert read_announced(copy) == 1
