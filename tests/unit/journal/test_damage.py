"""Covers what a reader makes of damaged files: only touched records are lost, all of them declared, none invented.

Leaves the pure search to test_record.py, torn tails of killed writers to test_kill.py, ordinary reading to
test_reader.py.
"""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.journal import Gap, JournalWriter, StreamReader, UnknownVersion
from shared.journal.record import SEGMENT_HEADER_BYTES, encode, encode_segment_header
from tests.unit.journal.mutations import Mutation, mutations, payload_lists
from tests.unit.journal.stream_builder import StreamOnDisk, covered, no_failure, payload_of, read_on, records_between


@settings(max_examples=300, deadline=None)
@given(payload_lists, mutations, st.booleans(), st.integers(1, 9), st.integers(1, 30), st.booleans())
def test_any_mutation_loses_only_what_it_touches(
    payloads: list[bytes], changes: list[Mutation], alive: bool, max_records: int, next_seq: int, followed: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        stream = StreamOnDisk(Path(root))
        written = {seq: encode(seq, seq % 3, payload) for seq, payload in enumerate(payloads, 1)}
        content = encode_segment_header(stream.stream, 1) + b"".join(written.values())
        for change in changes:
            content = change.apply(content)
        content += bytes(5000)  # reserved; zeros at a record's end may be made good by it
        stream.segment(1).write_bytes(content)
        last = len(payloads)
        intact = {seq: encoded for seq, encoded in written.items() if encoded in content}
        if followed:
            stream.add(last + 1, last + 20)
            intact |= {seq: encode(*record) for record in records_between(last + 1, last + 20) for seq in record[:1]}
        with StreamReader(stream.path, next_seq) as reader:
            if alive:
                with stream.held():
                    records, gaps, finished = read_on(reader, max_records)
                    assert not finished
            else:
                records, gaps = [], []
            more_records, more_gaps, finished = read_on(reader, max_records)
        records, gaps = records + more_records, gaps + more_gaps

    assert finished
    assert [encode(*r) for r in records] == [intact[seq] for seq in sorted(intact) if seq >= next_seq]
    assert covered(records, gaps) == list(range(next_seq, max([next_seq - 1, *(r[0] for r in records)]) + 1))


@pytest.mark.parametrize("damage", ["flipped", "zeroed"])
async def test_a_living_stream_goes_on_behind_damage(tmp_path: Path, damage: str) -> None:
    journal = JournalWriter.open(tmp_path, "os", on_failure=no_failure)
    for seq in range(1, 6):
        await journal.append(0, payload_of(seq))
    segment = next(journal.path.glob("*.seg"))
    third = encode(3, 0, payload_of(3))
    at = segment.read_bytes().index(third)
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(bytes(len(third)) if damage == "zeroed" else bytes([third[0] ^ 1]))

    with StreamReader(journal.path) as reader:
        records, gaps, finished = read_on(reader)
        assert [seq for seq, _, _ in records] == [1, 2, 4, 5]
        assert gaps == [Gap(3, 3, "damaged")]
        assert not finished
        await journal.append(0, payload_of(6))
        assert [seq for seq, _, _ in reader.read(10, 10_000).records] == [6]
        await journal.close()


def test_damage_at_the_tail_of_a_living_stream_is_not_judged_before_something_follows(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 3)
    fourth, fifth = (encode(*record) for record in records_between(4, 5))
    half = fourth[: len(fourth) // 2]
    with stream.held(), StreamReader(stream.path) as reader:
        stream.segment(1).write_bytes(content + half + bytes(4096))
        assert [seq for seq, _, _ in read_on(reader)[0]] == [1, 2, 3]
        for _ in range(3):
            assert reader.read(10, 1000) == ([], [], 4, False)
        stream.segment(1).write_bytes(content + fourth + bytes(4096))
        assert read_on(reader) == (records_between(4, 4), [], False)
        stream.segment(1).write_bytes(content + fourth + bytes(len(fifth)) + encode(6, 6, payload_of(6)))
        assert read_on(reader) == (records_between(6, 6), [Gap(5, 5, "damaged")], False)


@pytest.mark.parametrize("part", [slice(0, SEGMENT_HEADER_BYTES), slice(0, 1), slice(30, 34)])
def test_a_damaged_header_costs_no_record(tmp_path: Path, part: slice) -> None:
    stream = StreamOnDisk(tmp_path)
    content = bytearray(stream.add(1, 10))
    content[part] = b"\xff" * len(content[part])
    stream.segment(1).write_bytes(content)
    with StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 10), [], True)


def test_a_cut_off_header_costs_no_record(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 10)
    stream.segment(1).write_bytes(content[SEGMENT_HEADER_BYTES:])
    with StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 10), [], True)


def test_a_copy_of_a_later_record_does_not_hide_those_before_it(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    parts = [encode(*record) for record in records_between(1, 9)]
    parts[1] = parts[7]
    stream.segment(1).write_bytes(encode_segment_header(stream.stream, 1) + b"".join(parts))
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader, max_records=2)
    assert [seq for seq, _, _ in records] == [1, 3, 4, 5, 6, 7, 8, 9]
    assert gaps == [Gap(2, 2, "damaged")]
    assert finished


def test_a_record_of_a_later_segment_does_not_hide_those_before_it(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 5)
    stream.add(6, 9)
    stream.segment(1).write_bytes(content + encode(8, 1, payload_of(8)))
    with StreamReader(stream.path) as reader:
        assert read_on(reader) == (records_between(1, 9), [], True)


def test_a_segment_of_another_stream_is_not_read(tmp_path: Path) -> None:
    ours, theirs = StreamOnDisk(tmp_path), StreamOnDisk(tmp_path)
    ours.add(1, 3)
    theirs.add(4, 6)
    theirs.segment(4).rename(ours.segment(4))
    ours.add(7, 9)
    with StreamReader(ours.path) as reader:
        records, gaps, finished = read_on(reader)
    assert records == records_between(1, 3) + records_between(7, 9)
    assert gaps == [Gap(4, 6, "missing")]
    assert finished


def test_a_segment_of_a_newer_version_stops_the_reader_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamOnDisk(tmp_path)
    monkeypatch.setattr("shared.journal.record.SEGMENT_VERSION", 2)
    stream.add(1, 3)
    monkeypatch.undo()
    with StreamReader(stream.path) as reader:
        for _ in range(2):
            with pytest.raises(UnknownVersion):
                reader.read(10, 1000)


def test_damage_across_the_windows_of_a_large_segment(tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = bytearray(stream.add(1, 30_000))
    assert len(content) > 3 * (4 << 20)
    for at in range(50_000, len(content), 1_000_000):
        content[at] ^= 0x40
    stream.segment(1).write_bytes(content)
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader)
    lost = {seq for gap in gaps for seq in range(gap.first, gap.last + 1)}
    assert finished
    assert 0 < len(lost) <= len(range(50_000, len(content), 1_000_000))
    assert records == [record for record in records_between(1, 30_000) if record[0] not in lost]


def test_an_unreadable_sector_costs_only_the_records_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamOnDisk(tmp_path)
    content = stream.add(1, 2000)
    bad = range(204_800, 204_800 + 4096)
    pread = os.pread

    def pread_of_a_worn_disk(fd: int, size: int, start: int) -> bytes:
        if start < bad.stop and start + size > bad.start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size, start)

    monkeypatch.setattr(os, "pread", pread_of_a_worn_disk)
    with StreamReader(stream.path) as reader:
        records, gaps, finished = read_on(reader)

    whole = content[: bad.start] + bytes(len(bad)) + content[bad.stop :]
    assert finished
    assert records == [record for record in records_between(1, 2000) if encode(*record) in whole]
    assert len(gaps) == 1
    assert covered(records, gaps) == list(range(1, 2001))
