"""Covers how records become batches and batches are halved: every seq once, positions that fit together. What a
batch does in Postgres is tests/integration/ingest/."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from management.ingest.batch import Gap, Move, SourceBroken, StreamRead, batch_of, dead_letter, halve, slices
from tests.ingest_builders import DAY_MS, NOW_MS, click, gap_read, postback, read_of, stranger

A, B = b"a" * 16, b"b" * 16


def test_a_batch_knows_its_rows_days_and_moves() -> None:
    batch = batch_of([
        read_of([click(), postback(), b"broken", stranger(), stranger()], stream=A),
        read_of([click(at_ms=NOW_MS + DAY_MS)], stream=B, begins=5),
    ])  # fmt: skip
    assert (len(batch.clicks), len(batch.postbacks), len(batch.strangers)) == (2, 1, 2)
    assert [(letter.stream, letter.seq, letter.payload) for letter in batch.dead] == [(A, 3, b"broken")]
    assert batch.days == {NOW_MS // DAY_MS, NOW_MS // DAY_MS + 1}
    assert list(batch.moves.values()) == [Move(A, 1, 6, False), Move(B, 5, 6, True)]


def test_records_below_the_position_are_skipped() -> None:
    repeated = read_of([click(), click(), click()])
    read = StreamRead(repeated.stream, 3, 4, True, repeated.records)
    assert len(batch_of([read]).clicks) == 1


def test_two_runs_of_a_stream_are_one_move() -> None:
    batch = batch_of([read_of([click()]), gap_read(2, 4), read_of([click()], begins=5)])
    assert list(batch.moves.values()) == [Move(b"s" * 16, 1, 6, False)]
    assert [lost.gap for lost in batch.lost] == [Gap(2, 4, "damaged")]


@pytest.mark.parametrize(
    "reads",
    [
        [StreamRead(A, 1, 4, False, [(1, 1, b""), (3, 1, b"")])],
        [read_of([click()], stream=A), read_of([click()], stream=A, begins=3)],
    ],
    ids=["a seq passed over in silence", "runs that do not follow one another"],
)
def test_a_source_that_passes_over_seqs_is_not_believed(reads: list[StreamRead]) -> None:
    with pytest.raises(SourceBroken):
        batch_of(reads)


def test_a_dead_letters_reason_is_always_storable() -> None:
    assert dead_letter(A, (1, 1, b""), "nul \0, half \ud800, long" + "g" * 999).reason == (
        "nul \\0, half ?, long" + "g" * 480
    )


@st.composite
def reads(draw: st.DrawFn) -> list[StreamRead]:
    found = []
    for stream in range(draw(st.integers(1, 3))):
        begins = draw(st.integers(1, 3))
        records, gaps, seq = [], [], begins
        for is_gap, length in draw(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), min_size=1, max_size=5)):
            if is_gap:
                gaps.append(Gap(seq, seq + length - 1, "damaged"))
            else:
                records += [(number, 1, b"broken") for number in range(seq, seq + length)]
            seq += length
        known = begins > 1 or draw(st.booleans())
        repeats = [(number, 1, b"repeated") for number in range(1, begins)] if draw(st.booleans()) else []
        found.append(StreamRead(bytes([stream]) * 16, begins, seq, known, repeats + records, gaps))
    return found


def settled(batches: list[list[StreamRead]]) -> list[tuple[bytes, int]]:
    return [
        (read.stream, seq) for part in batches for read in part for seq in range(read.begins, read.next_seq)
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(reads())
def test_halves_settle_what_the_whole_did_in_moves_that_follow_one_another(found: list[StreamRead]) -> None:
    parts = [found]
    while (divided := [halve(part) for part in parts]) != [None] * len(parts):
        parts = [
            list(half)
            for part, halves in zip(parts, divided, strict=True)
            for half in ((part,) if halves is None else halves)
        ]
    assert settled(parts) == settled([found])
    stood: dict[bytes, int] = {read.stream: read.begins for read in found if read.known}
    letters = 0
    for part in parts:
        batch = batch_of(part)
        assert len(batch.dead) + len(batch.lost) == 1
        letters += len(batch.dead)
        for move in batch.moves.values():
            assert (stood.get(move.stream) == move.expected) if move.known else move.stream not in stood
            stood[move.stream] = move.next_seq
    assert stood == batch_of(found).positions
    assert letters == len(batch_of(found).dead)


@settings(max_examples=100, deadline=None)
@given(reads(), st.integers(1, 4))
def test_slices_decode_to_the_same_batch(found: list[StreamRead], size: int) -> None:
    whole = batch_of(found)
    sliced = batch_of(piece for read in found for piece in slices(read, size))
    assert (sliced.dead, sliced.moves) == (whole.dead, whole.moves)
    assert sorted(sliced.lost) == sorted(whole.lost)
