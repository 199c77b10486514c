"""Covers what is peculiar to the journal as a source: segments are deleted after their records are stored and never
before, damage becomes gaps, an unreadable stream keeps no other from being read. The rest is its contract suite."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from management.ingest.batch import Gap, batch_of
from management.ingest.sources import StoredPositions
from management.ingest.sources import journal as journal_source
from management.ingest.sources.journal import JournalSource, StoreLosses
from shared.journal import JournalLimits, StreamReader
from tests.ingest_builders import click, write_stream

ROOMY = JournalLimits(1 << 40, 0)


def source_of(
    root: Path,
    keep_seconds: float,
    positions: StoredPositions,
    limits: JournalLimits = ROOMY,
    store_losses: StoreLosses | None = None,
) -> JournalSource:
    return JournalSource(root, keep_seconds, positions, limits=limits, store_losses=store_losses or no_losses)


async def no_losses(losses: Mapping[bytes, int]) -> None:
    pytest.fail(f"nobody declared a loss: {losses}")


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
