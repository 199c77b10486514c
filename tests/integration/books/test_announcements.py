"""Covers the way of an announcement from a worker's file into the books, and what is taken from a journal by hand.

The file itself is tests/unit/journal/test_announced.py; whole processes and kills are test_process.py.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from management.ingest.batch import batch_of
from management.ingest.sources import announcements
from management.ingest.sources import journal as journal_source
from management.ingest.sources.journal import JournalSource
from management.ingest.writer import Writer
from management.system.books import line_of, sentences
from shared.journal import JournalWriter, streams
from tests.ingest_builders import append, click, write_stream
from tests.integration.books.ledger import line, source_of, store_round, terms

pytestmark = pytest.mark.usefixtures("_at_once")


async def store_all(source: JournalSource, writer: Writer) -> None:
    """Store everything there is, and a round more for what is said behind it."""
    while await store_round(source, writer):
        pass
    for _ in range(4):
        await asyncio.sleep(0.02)
        await store_round(source, writer)


async def test_a_living_stream_is_booked_as_its_worker_announces_it(
    tmp_path: Path, writer: Writer, owner: asyncpg.Connection
) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "fsync", on_failure=failures.append)
    source = source_of(tmp_path, writer, records=2)
    for _ in range(5):
        await append(journal, click())
    await asyncio.sleep(1.2)
    await store_round(source, writer)
    await asyncio.sleep(0.05)
    await source.read()  # told by now; what it gives is not stored
    assert await terms(owner, journal.stream) == {"stored": 2, "in_journal": 3, "last_seq": 5}
    await source.close()
    source = source_of(tmp_path, writer)
    await store_all(source, writer)
    assert await terms(owner, journal.stream) == {"stored": 5, "last_seq": 5}
    assert (await line(owner, journal.stream))["finished"] is False
    await journal.close()
    await store_all(source, writer)
    assert (await line(owner, journal.stream))["finished"] is True
    await source.close()
    assert failures == []


async def test_an_end_is_told_also_when_the_stream_goes_at_once(
    tmp_path: Path, writer: Writer, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_source, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(announcements, "TELL_SECONDS", 0.5)
    stream = await write_stream(tmp_path, [click() for _ in range(20)])
    source = source_of(tmp_path, writer, keep_seconds=0.0, records=7)
    async with asyncio.timeout(10):
        while streams(tmp_path) or source._stored:
            await store_round(source, writer)
            await asyncio.sleep(0.01)
    await source.close()
    assert await terms(owner, stream) == {"stored": 20, "last_seq": 20}
    assert (await line(owner, stream))["finished"] is True


async def test_an_end_is_told_only_when_it_is_stored(tmp_path: Path, writer: Writer, owner: asyncpg.Connection) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(20)])
    source = source_of(tmp_path, writer)
    batch = batch_of((await source.read()).reads)
    for _ in range(4):
        await asyncio.sleep(0.02)
        assert (await source.read()).reads == []
    assert not await owner.fetchval("SELECT bool_or(finished) FROM stream_announcements")
    await writer.store(batch)
    await source.committed(batch.positions)
    await store_all(source, writer)
    assert (await line(owner, stream))["finished"] is True
    await source.close()


def zero_in_the_middle(path: Path) -> tuple[int, int]:
    segment = sorted(path.glob("*.seg"))[0]
    content = segment.read_bytes()
    first, second = content.index(b"\xf5mp\xfb", 3000), content.index(b"\xf5mp\xfb", 4500)
    segment.write_bytes(content[: first - 4] + bytes(second - first) + content[second - 4 :])
    before, inside = content[: first - 4].count(b"\xf5mp\xfb"), content[first - 4 : second - 4].count(b"\xf5mp\xfb")
    return before + 1, before + inside


def cut_the_tail(path: Path) -> tuple[int, int]:
    segment = sorted(path.glob("*.seg"))[-1]
    content = segment.read_bytes()
    kept = content.rindex(b"\xf5mp\xfb") - 4
    segment.write_bytes(content[:kept])
    return 60, 60


def delete_a_segment(path: Path) -> tuple[int, int]:
    names = sorted(path.glob("*.seg"))
    names[1].unlink()
    return int(names[1].stem), int(names[2].stem) - 1


def delete_the_last_segment(path: Path) -> tuple[int, int]:
    last = sorted(path.glob("*.seg"))[-1]
    last.unlink()
    return int(last.stem), 60


@pytest.mark.parametrize("harm", [zero_in_the_middle, cut_the_tail, delete_a_segment, delete_the_last_segment])
async def test_records_taken_from_a_journal_are_lost_by_number_and_raise_an_alarm(
    tmp_path: Path, writer: Writer, owner: asyncpg.Connection, harm: Callable[[Path], tuple[int, int]]
) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    first, last = harm(tmp_path / stream.hex())
    source = source_of(tmp_path, writer)
    await store_all(source, writer)
    await source.close()
    gone = last - first + 1
    assert await terms(owner, stream) == {"stored": 60 - gone, "lost": gone, "last_seq": 60}
    found = line_of(await line(owner, stream)) | {"waits": False}
    assert [(gap["first"], gap["last"]) for gap in found["lost_ranges"]] == [(first, last)]
    (alarm,) = sentences([found])
    assert f"{gone} record" in alarm
    assert str(first) in alarm
    assert str(last) in alarm


async def test_a_stream_whose_directory_is_taken_away_leaves_a_difference(
    tmp_path: Path, writer: Writer, owner: asyncpg.Connection
) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    source = source_of(tmp_path, writer, records=10)
    for _ in range(2):
        await store_round(source, writer)
        await asyncio.sleep(0.05)
    stored = (await line(owner, stream))["stored"]
    shutil.rmtree(tmp_path / stream.hex())
    await store_all(source, writer)
    await source.close()
    assert 0 < stored <= (found := await line(owner, stream))["stored"] < 60
    assert found["finished"] is True
    await owner.execute("UPDATE stream_announcements SET announced_at = now() - interval '2 minutes'")
    assert await terms(owner, stream) == {
        "stored": found["stored"],
        "difference": 60 - found["stored"],
        "last_seq": 60,
    }


async def test_storing_an_announcement_keeps_no_read_waiting(tmp_path: Path, writer: Writer) -> None:
    await write_stream(tmp_path, [click() for _ in range(60)])
    source = source_of(tmp_path, writer, records=5)
    await source.read()
    async with writer.turn():  # a batch is being stored
        await source.read()
        begun = time.monotonic()
        for _ in range(3):
            assert (await source.read()).reads
        assert time.monotonic() - begun < 0.5
    await source.close()
