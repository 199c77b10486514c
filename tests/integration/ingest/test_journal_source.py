"""Covers what is peculiar to the journal as a source: segments are deleted after their records are stored and never
before, and sooner when they are in the way; writers are told what is stored; declared losses are stored before their
stream goes; damage becomes gaps, an unreadable stream keeps no other from being read. The rest is its contract suite,
and what becomes of the losses in Postgres is in test_declared_losses.py."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from zlib import crc32

import pytest

from management.ingest.batch import Gap, batch_of
from management.ingest.books import Announced
from management.ingest.sources import StoredPositions, announcements
from management.ingest.sources import journal as journal_source
from management.ingest.sources.journal import JournalSource, StoreLosses
from shared.events import CLICK, encode
from shared.journal import END, JournalLimits, JournalMeter, JournalWriter, StreamReader, read_consumed, streams, tidier
from shared.journal.group import settle
from shared.journal.stream import SegmentName
from tests.ingest_builders import click, write_stream

ROOMY = JournalLimits(1 << 40, 0)


def source_of(
    root: Path,
    keep_seconds: float,
    positions: StoredPositions,
    limits: JournalLimits = ROOMY,
    store_losses: StoreLosses | None = None,
) -> JournalSource:
    return JournalSource(
        root,
        keep_seconds,
        positions,
        limits=limits,
        store_losses=store_losses or no_losses,
        store_announced=nobody_keeps_books,
    )


async def no_losses(losses: Mapping[bytes, int]) -> None:
    pytest.fail(f"nobody declared a loss: {losses}")


async def nobody_keeps_books(said: Mapping[bytes, Announced]) -> None:
    assert said


async def nothing_stored(streams: Sequence[bytes]) -> dict[bytes, int]:
    return {}


def segments(root: Path, stream: bytes) -> list[str]:
    return sorted(path.name for path in (root / stream.hex()).glob("*.seg"))


async def sweep(source: JournalSource) -> None:
    """Reads until a whole sweep has begun and ended."""
    for _ in range(2):
        await source.read()
        assert source._sweep is not None
        await source._sweep


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_source, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(announcements, "TELL_SECONDS", 0.0)


async def test_segments_go_when_stored_and_never_before(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    all_segments = segments(tmp_path, stream)
    assert len(all_segments) == 4
    source = source_of(tmp_path, 0.0, nothing_stored)
    assert (await source.read()).reads[0].next_seq == 61
    await sweep(source)
    assert segments(tmp_path, stream) == all_segments, "read, but nothing is stored"
    await source.committed({stream: 30})
    await sweep(source)
    left = segments(tmp_path, stream)
    assert 0 < len(left) < len(all_segments)
    reader = StreamReader(tmp_path / stream.hex(), 30)
    assert [seq for seq, _, _ in reader.read(100, 1 << 20).records] == list(range(30, 61))
    reader.close()
    await source.committed({stream: 61})
    await sweep(source)
    assert not (tmp_path / stream.hex()).exists()
    assert source._stored == {}, "a stream that is gone is forgotten"
    await source.close()


async def test_stored_segments_are_kept_as_long_as_asked(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    for number, path in enumerate(sorted((tmp_path / stream.hex()).glob("*.seg"))):
        if number < 2:
            os.utime(path, (time.time() - 3700, time.time() - 3700))
    before = segments(tmp_path, stream)
    source = source_of(tmp_path, 3600.0, nothing_stored)
    await source.read()
    await source.committed({stream: 61})
    await sweep(source)
    assert segments(tmp_path, stream) == before[2:]
    await source.close()


async def test_a_stream_stored_in_an_earlier_life_is_deleted_too(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click()])

    async def all_stored(streams: Sequence[bytes]) -> dict[bytes, int]:
        return {stream: 2}

    source = source_of(tmp_path, 0.0, all_stored)
    assert (await source.read()).reads == []
    await sweep(source)
    assert not (tmp_path / stream.hex()).exists()
    await source.close()


async def test_damage_in_the_middle_is_a_gap_that_stops_nobody(tmp_path: Path) -> None:
    marked = click(details={"mark": "here"})
    stream = await write_stream(tmp_path, [click(), marked, click()])
    (segment,) = (tmp_path / stream.hex()).glob("*.seg")
    data = segment.read_bytes()
    assert data.count(b'"mark":"here"') == 1
    segment.write_bytes(data.replace(b'"mark":"here"', b'"mark":"gone"'))
    source = source_of(tmp_path, 0.0, nothing_stored)
    batch = batch_of((await source.read()).reads)
    assert [lost.gap for lost in batch.lost] == [Gap(2, 2, "damaged")]
    assert (len(batch.clicks), batch.positions) == (2, {stream: 4})
    await source.close()


async def test_a_stream_of_a_newer_version_waits_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange, plain = await write_stream(tmp_path, [click()]), await write_stream(tmp_path, [click()])
    (segment,) = (tmp_path / strange.hex()).glob("*.seg")
    data = bytearray(segment.read_bytes())
    # The version and its checksum, as a later writer would write them.
    data[8:10] = (99).to_bytes(2, "little")
    data[34:38] = crc32(bytes(data[:34])).to_bytes(4, "little")
    segment.write_bytes(data)
    source = source_of(tmp_path, 0.0, nothing_stored)
    reads = [read for _ in range(3) for read in (await source.read()).reads]
    assert [read.stream for read in reads] == [plain]
    assert capsys.readouterr().out.count("stream_unreadable") == 1
    await sweep(source)
    assert segments(tmp_path, strange) != []
    await source.close()


async def test_a_position_that_cannot_be_asked_for_is_asked_for_again(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click()])
    long_ago = time.time_ns() - 10 * 10**9
    os.utime(tmp_path, ns=(long_ago, long_ago))  # else a look at streams this young is taken again anyway
    answers: list[OSError | dict[bytes, int]] = [OSError("away"), {stream: 1}]

    async def flaky(streams: Sequence[bytes]) -> dict[bytes, int]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    source = source_of(tmp_path, 0.0, flaky)
    with pytest.raises(OSError, match="away"):
        await source.read()
    assert len((await source.read()).reads) == 1
    await source.close()


async def test_a_journal_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    source = source_of(tmp_path / "later", 0.0, nothing_stored)
    assert (await source.read()).reads == []
    stream = await write_stream(tmp_path / "later", [click()])
    assert [read.stream for read in (await source.read()).reads] == [stream]
    await source.close()


# What the writers are told.


async def test_the_writers_are_told_what_is_stored_and_nothing_sooner(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    path, meter = tmp_path / stream.hex(), JournalMeter(tmp_path)
    whole = meter.unconsumed_bytes()
    source = JournalSource(
        tmp_path,
        3600.0,
        nothing_stored,
        limits=ROOMY,
        store_losses=no_losses,
        store_announced=nobody_keeps_books,
        records=10,
        size=1 << 20,
    )
    for _ in range(3):
        await source.read()
    await sweep(source)
    assert read_consumed(path) is None
    assert meter.unconsumed_bytes() == whole, "read, but nothing is stored"
    await source.committed({stream: 25})
    await sweep(source)
    mark = read_consumed(path)
    assert mark is not None
    assert SegmentName(1) < mark.segment < END.segment
    after_20 = meter.unconsumed_bytes()
    assert 0 < after_20 < whole
    while (await source.read()).reads:
        pass
    await source.committed({stream: 61})
    await sweep(source)
    assert read_consumed(path) == END
    assert meter.unconsumed_bytes() == 0
    assert len(segments(tmp_path, stream)) == 4, "all of it is kept"
    await source.close()


async def test_a_living_stream_is_consumed_up_to_its_last_record(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "os", on_failure=failures.append)
    source = source_of(tmp_path, 3600.0, nothing_stored)
    for number in range(1, 4):
        await journal.append(1, b"x" * 50_000)
        assert (await source.read()).reads[0].next_seq == number + 1
        await source.committed({journal.stream: number + 1})
        await sweep(source)
        assert JournalMeter(tmp_path).unconsumed_bytes() < 4096, "what the last page has left"
    await source.close()
    await journal.close()
    assert failures == []


# What is kept, and what is in the way.


async def kept_streams(root: Path, number: int) -> list[bytes]:
    """Streams of four segments each; the segments of one are older than those of the next."""
    made = []
    for age in range(number, 0, -1):
        made.append(await write_stream(root, [click() for _ in range(60)], segment_bytes=8192))
        for path in (root / made[-1].hex()).glob("*.seg"):
            os.utime(path, (time.time() - 100 * age, time.time() - 100 * age))
    return made


async def stored_and_swept(root: Path, made: Sequence[bytes], limits: JournalLimits) -> None:
    source = source_of(root, 3600.0, nothing_stored, limits)
    while (await source.read()).reads:
        await source.committed(dict.fromkeys(made, 61))
    await sweep(source)
    await source.close()


async def test_kept_segments_are_trimmed_to_half_of_the_limit_oldest_first(tmp_path: Path) -> None:
    made = await kept_streams(tmp_path, 3)
    sizes = {
        stream: [(tmp_path / stream.hex() / name).stat().st_blocks * 512 for name in segments(tmp_path, stream)]
        for stream in made
    }
    left = sum(sizes[made[2]]) + sum(sizes[made[1]][2:])
    await stored_and_swept(tmp_path, made, JournalLimits(2 * left, 0))
    assert not (tmp_path / made[0].hex()).exists()
    assert len(segments(tmp_path, made[1])) == 2
    assert len(segments(tmp_path, made[2])) == 4


async def test_when_space_is_short_everything_that_is_only_kept_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidier, "free_bytes", lambda path: 10_000)
    made = await kept_streams(tmp_path, 2)
    unread = await write_stream(tmp_path / "other", [click() for _ in range(60)], segment_bytes=8192)
    await stored_and_swept(tmp_path, made, JournalLimits(1 << 40, 10_000))
    assert len(streams(tmp_path)) == 2, "there is enough"
    await stored_and_swept(tmp_path, made, JournalLimits(1 << 40, 10_001))
    assert len(segments(tmp_path, made[0])) == 3, "one segment is enough"
    await stored_and_swept(tmp_path, made, JournalLimits(1 << 40, 1 << 50))
    assert streams(tmp_path) == []
    assert len(segments(tmp_path / "other", unread)) == 4


async def test_what_is_not_stored_stays_however_short_the_space_is(tmp_path: Path) -> None:
    stream = await write_stream(tmp_path, [click() for _ in range(60)], segment_bytes=8192)
    source = source_of(tmp_path, 0.0, nothing_stored, JournalLimits(0, 1 << 60))
    await source.read()
    await sweep(source)
    assert len(segments(tmp_path, stream)) == 4
    await source.committed({stream: 30})
    await sweep(source)
    reader = StreamReader(tmp_path / stream.hex(), 30)
    assert [seq for seq, _, _ in reader.read(100, 1 << 20).records] == list(range(30, 61))
    reader.close()
    await source.close()


# Declared losses.


async def losing_stream(root: Path, losses: int, records: int = 1) -> bytes:
    failures: list[BaseException] = []
    journal = JournalWriter.open(root, "os", on_failure=failures.append)
    loop = asyncio.get_running_loop()
    declared = [loop.create_future() for _ in range(losses)]
    for future in declared:
        journal.declare_lost(partial(settle, future))
    await asyncio.gather(*declared, *(journal.append(CLICK, encode(click())) for _ in range(records)))
    await journal.close()
    assert failures == []
    return journal.stream


@pytest.mark.parametrize("records", [0, 1])
async def test_a_stream_that_lost_clicks_stays_until_their_number_is_stored(tmp_path: Path, records: int) -> None:
    stream = await losing_stream(tmp_path, 3, records)
    stored: list[dict[bytes, int]] = []
    away = [True]

    async def store(losses: Mapping[bytes, int]) -> None:
        if away:
            raise OSError("away")
        stored.append(dict(losses))

    source = source_of(tmp_path, 0.0, nothing_stored, JournalLimits(0, 1 << 60), store)
    await source.read()
    await source.committed({stream: records + 1} if records else {})
    assert source._sweep is not None
    await source._sweep
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            await source.read()
    assert (tmp_path / stream.hex()).exists()
    away.clear()
    await source.read()
    await sweep(source)
    assert stored == [{stream: 3}]
    assert streams(tmp_path) == []
    await source.close()


async def test_losses_of_a_living_stream_are_stored_as_they_grow(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "os", on_failure=failures.append)
    stored: list[dict[bytes, int]] = []

    async def store(losses: Mapping[bytes, int]) -> None:
        stored.append(dict(losses))

    source = source_of(tmp_path, 0.0, nothing_stored, ROOMY, store)
    for number in range(1, 4):
        declared = asyncio.get_running_loop().create_future()
        journal.declare_lost(partial(settle, declared))
        await declared
        for _ in range(2):
            await sweep(source)
        assert stored[-1] == {journal.stream: number}
    assert len(stored) == 3
    await source.close()
    await journal.close()
    assert failures == []
