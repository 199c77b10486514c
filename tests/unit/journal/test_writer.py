"""Covers the writer in its own process: acknowledgement, waiters, rotation, reservation, lock, closing, fork.

Leaves failing disks to test_disk_failure.py, the order of system calls to test_system_calls.py, kills to
test_kill.py.
"""

import asyncio
import fcntl
import os
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from subprocess import run
from typing import Literal

import pytest

from shared.journal import (
    MAX_PAYLOAD,
    JournalFailed,
    JournalFull,
    JournalWriter,
    PayloadRefused,
    StreamReader,
    stream_id,
    streams,
)
from shared.journal.segment import LAST_RESERVE_BYTES, RESERVE_BYTES, OpenSegment
from shared.journal.stream import list_segments
from tests.unit.journal.stream_builder import no_failure, payload_of, read_on

Durability = Literal["fsync", "os"]
BOTH: list[Durability] = ["fsync", "os"]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[JournalWriter]:
    opened = JournalWriter.open(tmp_path, "fsync", on_failure=no_failure)
    yield opened
    await opened.close()


def read_seqs(journal: JournalWriter) -> list[int]:
    with StreamReader(journal.path) as reader:
        return [seq for seq, _, _ in read_on(reader)[0]]


async def commit(journal: JournalWriter, seq: int) -> None:
    await journal.append(seq % 7, payload_of(seq))


@pytest.mark.parametrize("durability", BOTH)
async def test_an_acknowledged_record_is_in_the_file(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, on_failure=no_failure)
    opened_at = journal.last_sync_at
    assert (journal.next_seq, journal.synced_seq) == (1, 0)
    await commit(journal, 1)
    assert (journal.next_seq, journal.synced_seq) == (2, 1)
    assert journal.last_sync_at > opened_at
    with StreamReader(journal.path) as reader:
        assert read_on(reader) == ([(1, 1, payload_of(1))], [], False)
        await journal.close()
        assert reader.read(10, 1000).finished


async def test_with_os_the_records_of_one_step_are_one_write_and_nothing_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalWriter.open(tmp_path, "os", on_failure=no_failure)
    writes: list[int] = []
    write = OpenSegment.write

    def counted(segment: OpenSegment, piece: bytes) -> None:
        writes.append(len(piece))
        write(segment, piece)

    monkeypatch.setattr(OpenSegment, "write", counted)
    monkeypatch.setattr(OpenSegment, "sync", lambda segment: pytest.fail("the loop waited for the disk"))
    waiting = [journal.append(1, b"{}") for _ in range(5)]
    assert not any(waiter.done() for waiter in waiting)
    await asyncio.gather(*waiting)
    assert len(writes) == 1
    assert read_seqs(journal) == [1, 2, 3, 4, 5]
    monkeypatch.undo()
    await journal.close()


async def test_with_fsync_nothing_is_answered_while_the_disk_works(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_sync = threading.Event()
    fdatasync = os.fdatasync

    def slow_disk(fd: int) -> None:
        may_sync.wait()
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", slow_disk)
    first = journal.append(0, b"{}")
    await asyncio.sleep(0.02)
    second = journal.append(0, b"{}")
    assert first is not None
    assert second is not None
    await asyncio.sleep(0.02)
    assert not first.done()
    assert not second.done()
    assert journal.synced_seq == 0
    may_sync.set()
    await second
    assert first.done()
    assert journal.synced_seq == 2


async def test_records_of_one_step_and_those_that_come_during_a_sync_share_syncs(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    fdatasync = os.fdatasync

    def counted(fd: int) -> None:
        syncs.append(fd)
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", counted)

    async def client() -> None:
        for _ in range(20):
            await commit(journal, journal.next_seq)

    await asyncio.gather(*(client() for _ in range(64)))
    assert journal.synced_seq == 64 * 20
    assert 20 <= len(syncs) <= 22


async def test_what_a_woken_waiter_appends_joins_the_group_that_collected_meanwhile(
    journal: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_sync, syncs = threading.Event(), list[int]()
    fdatasync = os.fdatasync

    def slow_disk(fd: int) -> None:
        may_sync.wait()
        syncs.append(fd)
        fdatasync(fd)

    async def client_of_two() -> None:
        await commit(journal, 1)
        await commit(journal, 3)

    monkeypatch.setattr(os, "fdatasync", slow_disk)
    client = asyncio.create_task(client_of_two())
    await asyncio.sleep(0.02)
    second = asyncio.create_task(commit(journal, 2))
    await asyncio.sleep(0.02)
    may_sync.set()
    await asyncio.gather(client, second)
    assert journal.synced_seq == 3
    assert len(syncs) == 2


async def test_a_cancelled_waiter_disturbs_nobody_and_its_record_is_kept(journal: JournalWriter) -> None:
    clients = [asyncio.create_task(commit(journal, seq)) for seq in range(1, 11)]
    await asyncio.sleep(0)
    for client in clients[::3]:
        client.cancel()
    ends = await asyncio.gather(*clients, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [n % 3 == 0 for n in range(10)]
    assert read_seqs(journal) == list(range(1, 11))
    await commit(journal, 11)


@pytest.mark.parametrize("durability", BOTH)
async def test_a_refused_payload_uses_no_seq_up(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, on_failure=no_failure)
    with pytest.raises(PayloadRefused):
        journal.append(0, bytes(MAX_PAYLOAD + 1))
    await commit(journal, 1)
    assert read_seqs(journal) == [1]
    await journal.close()


@pytest.mark.parametrize("durability", BOTH)
async def test_segments_rotate_at_their_size_and_are_named_by_their_first_seq(
    tmp_path: Path, durability: Durability
) -> None:
    journal = JournalWriter.open(tmp_path, durability, segment_bytes=10_000, on_failure=no_failure)
    for seq in range(1, 201):
        await commit(journal, seq)
    await journal.close()
    segments = list_segments(journal.path)
    assert len(segments) > 5
    for path in journal.path.glob("*.seg"):
        assert path.stat().st_size <= 10_000
        with StreamReader(journal.path, int(path.name[:20])) as reader:
            assert reader.read(1, 1).records[0][0] == int(path.name[:20])
    with StreamReader(journal.path) as reader:
        assert read_on(reader) == ([(n, n % 7, payload_of(n)) for n in range(1, 201)], [], True)


@pytest.mark.parametrize("durability", BOTH)
async def test_a_record_larger_than_a_segment_still_finds_its_place(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, segment_bytes=1000, on_failure=no_failure)
    for payload in (bytes(5000), b"{}", bytes(MAX_PAYLOAD), b"{}"):
        await journal.append(0, payload)
    await journal.close()
    with StreamReader(journal.path) as reader:
        assert [len(payload) for _, _, payload in read_on(reader)[0]] == [5000, 2, MAX_PAYLOAD, 2]


@pytest.mark.parametrize("durability", BOTH)
async def test_space_is_reserved_in_steps_and_given_back_at_the_end(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, on_failure=no_failure)
    (segment,) = journal.path.glob("*.seg")
    assert segment.stat().st_size == RESERVE_BYTES + LAST_RESERVE_BYTES
    assert segment.stat().st_blocks * 512 >= RESERVE_BYTES + LAST_RESERVE_BYTES
    for _ in range(RESERVE_BYTES // MAX_PAYLOAD + 1):
        await journal.append(0, bytes(MAX_PAYLOAD))
    assert segment.stat().st_size == 2 * RESERVE_BYTES + LAST_RESERVE_BYTES
    await journal.close()
    assert RESERVE_BYTES < segment.stat().st_size < RESERVE_BYTES + 2 * MAX_PAYLOAD


async def test_each_life_is_a_stream_of_its_own(tmp_path: Path) -> None:
    lives = [JournalWriter.open(tmp_path / "deep" / "journal", "os", on_failure=no_failure) for _ in range(3)]
    assert {stream_id(path) for path in streams(tmp_path / "deep" / "journal")} == {life.stream for life in lives}
    for life in lives:
        assert len(life.stream) == 16
        await life.close()


async def test_the_lock_is_held_until_the_last_record_is_in_the_file(journal: JournalWriter) -> None:
    with (journal.path / "lock").open("r+b") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        clients = [journal.append(0, b"{}") for _ in range(5)]
        await journal.close()
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert all(client is not None and client.done() and client.exception() is None for client in clients)
    assert read_seqs(journal) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("durability", BOTH)
async def test_a_closed_journal_refuses_and_can_be_closed_again(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, on_failure=no_failure)
    await commit(journal, 1)
    await asyncio.gather(journal.close(), journal.close())
    await journal.close()
    with pytest.raises(JournalFailed):
        journal.append(0, b"{}")
    assert read_seqs(journal) == [1]


@pytest.mark.parametrize("durability", BOTH)
async def test_opening_and_closing_leaves_no_file_and_no_thread(tmp_path: Path, durability: Durability) -> None:
    files, threads = os.listdir("/proc/self/fd"), threading.active_count()
    journal = JournalWriter.open(tmp_path, durability, segment_bytes=2000, on_failure=no_failure)
    for seq in range(1, 30):
        await commit(journal, seq)
    await journal.close()
    journal._thread.join(5)
    assert os.listdir("/proc/self/fd") == files
    assert threading.active_count() == threads


async def test_a_journal_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    files = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No space"):
        JournalWriter.open(tmp_path, "fsync", on_failure=no_failure)
    assert list(tmp_path.iterdir()) == []
    assert os.listdir("/proc/self/fd") == files


_FORK = """
import asyncio, os, sys, time
from pathlib import Path
from shared.journal import JournalFailed, JournalWriter, StreamReader

async def main():
    journal = JournalWriter.open(Path(sys.argv[1]), sys.argv[2], on_failure=sys.exit)
    if os.fork() == 0:
        try:
            journal.append(0, b"{}")
        except JournalFailed:
            sys.stdout.write("refused in the child\\n")
            sys.stdout.flush()
        time.sleep(60)
    await journal.append(0, b"{}")
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", BOTH)
def test_a_forked_child_neither_writes_nor_keeps_the_stream_alive(tmp_path: Path, durability: str) -> None:
    script = tmp_path / "forking.py"
    script.write_text(_FORK)
    with (tmp_path / "out").open("w+") as out:
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        run([sys.executable, script, tmp_path / "j", durability], stdout=out, env=environ, check=False, timeout=30)
        (path,) = streams(tmp_path / "j")
        with StreamReader(path) as reader:
            assert read_on(reader) == ([(1, 0, b"{}")], [], True)


async def test_with_os_closing_commits_what_was_appended_in_the_same_step(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "os", on_failure=failures.append)
    waiter = journal.append(1, b"{}")
    await journal.close()
    await waiter
    assert read_seqs(journal) == [1]
    assert failures == []


@pytest.mark.parametrize("durability", BOTH)
async def test_who_takes_a_record_hears_of_it_in_a_later_step_and_once(tmp_path: Path, durability: Durability) -> None:
    journal = JournalWriter.open(tmp_path, durability, on_failure=no_failure)
    loop = asyncio.get_running_loop()
    heard: list[tuple[int, JournalFailed | JournalFull | None]] = []
    over = loop.create_future()

    def done(number: int, refusal: JournalFailed | JournalFull | None) -> None:
        heard.append((number, refusal))
        if number < 30:
            before = len(heard)
            journal.take(1, b"{}", partial(done, number + 3))
            assert len(heard) == before, "not from inside `take`"
        elif number == 32:
            over.set_result(None)

    for number in range(3):
        journal.take(1, b"{}", partial(done, number))
    assert heard == []
    await over
    assert heard == [(number, None) for number in range(33)]
    assert journal.synced_seq == 33
    await journal.close()
    with pytest.raises(JournalFailed):
        journal.take(1, b"{}", over.set_result)
    with pytest.raises(JournalFailed):
        journal.declare_lost(over.set_result)
    assert read_seqs(journal) == list(range(1, 34))
