"""Covers one stream between log and loop, alone: disorder, bounds, gaps over what is there, what may be said as
evidence. Everything together, with shippers and losses, is test_kafka_model.py."""

import random

import pytest

from management.ingest.batch import Gap, batch_of
from management.ingest.sources import parking
from management.ingest.sources.parking import Evidence, Stream, Tally
from shared.topics import Record

ID = b"s" * 16


def record(seq: int, size: int = 1) -> Record:
    return Record(seq, 1, b"x" * size)


def seqs(stream: Stream) -> list[int]:
    read = stream.take(1000, 1 << 30)
    return [] if read is None else [seq for seq, _, _ in read.records]


@pytest.mark.parametrize("seed", range(5))
def test_any_order_comes_out_in_order(seed: int) -> None:
    tally = Tally()
    stream = Stream(ID, None, tally)
    messages = [record(seq) for seq in range(1, 200) for _ in range(2)]
    random.Random(seed).shuffle(messages)
    found = []
    for offset, message in enumerate(messages):
        stream.record(message, offset)
        found += seqs(stream)
    assert found == list(range(1, 200))
    assert tally == Tally(repeats=199)


def test_what_is_stored_is_a_repeat() -> None:
    stream = Stream(ID, 5, Tally())
    assert [stream.record(record(seq), 0) for seq in (3, 4, 5)] == [False, False, True]
    assert seqs(stream) == [5]


def test_parking_is_bounded_by_number_and_the_oldest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_RECORDS", 3)
    tally = Tally()
    one, other = Stream(ID, None, tally), Stream(b"o" * 16, None, tally)
    for seq in (2, 3, 4, 5):
        one.record(record(seq), seq)
    other.record(record(2), 9)
    assert (tally.parked, tally.passed_over) == (3, 2)
    one.record(record(1), 10)
    assert seqs(one) == [1, 2, 3, 4]
    assert one.has_gap, "5 was passed over"
    other.record(record(2), 11)
    assert tally.parked == 1, "there is room again"


def test_parking_is_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_BYTES", 100)
    tally = Tally()
    stream = Stream(ID, None, tally)
    for seq in (3, 4, 5):
        stream.record(record(seq, 40), seq)
    assert (tally.parked, tally.parked_bytes, tally.passed_over) == (2, 80, 1)
    stream.forget()
    assert (tally.parked, tally.parked_bytes) == (0, 0)


def test_a_gap_takes_nothing_that_is_there() -> None:
    stream = Stream(ID, 2, Tally())
    for seq in (2, 6, 8):
        stream.record(record(seq), seq)
    stream.gap(Gap(1, 10, "damaged"), 9)
    read = stream.take(100, 1 << 30)
    assert read is not None
    assert [seq for seq, _, _ in read.records] == [2, 6, 8]
    assert [gap[:2] for gap in read.gaps] == [(3, 5), (7, 7), (9, 10)]
    assert batch_of([read]).moves[ID].next_seq == 11


def test_a_gap_that_comes_too_early_waits() -> None:
    stream = Stream(ID, None, Tally())
    stream.gap(Gap(3, 4, "damaged"), 0)
    assert seqs(stream) == []
    stream.record(record(1), 1)
    assert seqs(stream) == [1]
    stream.record(record(2), 2)
    read = stream.take(100, 1 << 30)
    assert read is not None
    assert (read.begins, read.next_seq, [gap[:2] for gap in read.gaps]) == (2, 5, [(3, 4)])


def test_a_gap_longer_than_memory_costs_nothing() -> None:
    stream = Stream(ID, None, Tally())
    stream.gap(Gap(1, parking.MAX_SEQ, "damaged"), 0)
    read = stream.take(100, 1 << 30)
    assert read is not None
    assert read.next_seq == parking.MAX_SEQ + 1 < 1 << 63


def test_runs_are_cut_between_records_with_their_gaps() -> None:
    stream = Stream(ID, None, Tally())
    for offset, seq in enumerate((1, 2, 5, 6)):
        stream.record(record(seq), offset)
    stream.gap(Gap(3, 4, "damaged"), 5)
    reads = []
    while (read := stream.take(1, 1 << 30)) is not None:
        reads.append(read)
    assert [len(read.records) for read in reads] == [1, 1, 1, 1]
    assert batch_of(reads).moves[ID].next_seq == 7


def test_what_is_on_its_way_is_not_missing() -> None:
    stream = Stream(ID, None, Tally())
    for offset in range(10):
        stream.record(record(offset + 1), offset)
    stream.note(0, 10)
    assert stream.evidence(10) == Evidence(1, 0)
    stream.take(4, 1 << 30)
    stream.settle(5)
    assert stream.evidence(10) == Evidence(5, 0)
    stream.take(100, 1 << 30)
    stream.settle(11)
    assert stream.evidence(10) == Evidence(11, 10)
    assert stream.unproven_from == 0
    stream.prove(Evidence(11, 10))
    assert stream.unproven_from is None


def test_what_was_parked_and_is_half_stored_is_not_missing() -> None:
    stream = Stream(ID, None, Tally())
    for offset, seq in enumerate((3, 4, 5)):
        stream.record(record(seq), offset)
    stream.note(0, 3)
    assert stream.evidence(3) == Evidence(1, 3), "1 and 2 are missing"
    stream.prove(Evidence(1, 3))
    for offset, seq in ((7, 1), (8, 2)):
        stream.record(record(seq), offset)
    stream.note(7, 9)
    stream.take(3, 1 << 30)
    stream.settle(4)
    assert stream.evidence(9) == Evidence(4, 0), "4 stands at offset 1, and is on its way"
