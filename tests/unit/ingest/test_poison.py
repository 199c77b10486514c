"""Covers the arithmetic of the limit: its exact edges, in one stream and over many, across batches, gaps and what the
operator allowed. That ingest keeps to it, and remembers through restarts, is tests/integration/deadletters."""

import random
from collections.abc import Iterable, Sequence

import pytest

from management.ingest.batch import Batch, DeadLetter, StreamRead, batch_of
from management.ingest.poison import MOST_DEAD, WINDOW_RECORDS, Standing, before, judge
from shared.events import CLICK
from tests.ingest_builders import click, gap_read, payload

A, B = b"a" * 16, b"b" * 16
GOOD = payload(click())


def read(pattern: Iterable[bool], stream: bytes = A, begins: int = 1) -> StreamRead:
    """A run of records, True for each that is dead."""
    records = [(seq, CLICK, b"broken" if dead else GOOD) for seq, dead in enumerate(pattern, begins)]
    return StreamRead(stream, begins, begins + len(records), begins > 1, records)


def first_beyond(standing: Standing, *reads: StreamRead) -> tuple[bytes, int] | None:
    beyond = judge(standing, batch_of(reads)).beyond
    return None if beyond is None else (beyond.stream, beyond.seq)


def every(step: int, letters: int) -> list[bool]:
    """Letters at the first of every `step` records, `letters` of them, nothing behind the last."""
    return ([True] + [False] * (step - 1)) * (letters - 1) + [True]


def test_the_limit_is_one_percent() -> None:
    assert (WINDOW_RECORDS, MOST_DEAD) == (10_000, 100)


def test_a_hundred_in_a_row_pass_and_the_next_does_not() -> None:
    assert first_beyond(Standing(0), read([True] * 100)) is None
    assert first_beyond(Standing(0), read([True] * 101)) == (A, 101)
    assert "in a row" in judge(Standing(0), batch_of([read([True] * 101)])).rule


def test_one_percent_passes_and_more_does_not() -> None:
    # The 101st letter stands at 10,001: the first has just left the window.
    assert first_beyond(Standing(0), read(every(100, 101))) is None
    # One record earlier the window holds both.
    pattern = every(100, 101)
    del pattern[50]
    assert first_beyond(Standing(0), read(pattern)) == (A, 10_000)
    assert "10,000" in judge(Standing(0), batch_of([read(pattern)])).rule


def test_one_in_a_thousand_passes_for_ever() -> None:
    standing, numbers = Standing(0), list[int]()
    for part in range(30):
        judged = judge(standing, batch_of([read(every(1000, 3) + [False] * 999, begins=1 + part * 3000)]))
        assert judged.beyond is None
        numbers += (letter.number for letter in judged.letters)
        standing = Standing((part + 1) * 3000, [number for number in numbers if number > (part + 1) * 3000 - 10_000])
    assert numbers == [1 + 1000 * place for place in range(90)]


@pytest.mark.parametrize("stored", [0, 1, 37, 99, 100])
def test_a_run_goes_on_over_the_border_of_two_batches(stored: int) -> None:
    """The window alone would let it pass: other streams settled enough good records meanwhile."""
    standing = Standing(50_000, (), {A: stored})
    assert first_beyond(standing, read([True] * (100 - stored), begins=8)) is None
    assert first_beyond(standing, read([True] * 101, begins=8)) == (A, 8 + 100 - stored)


def test_a_good_record_ends_a_run() -> None:
    assert first_beyond(Standing(50_000, (), {A: 100}), read([False, *[True] * 100], begins=8)) is None


def test_a_gap_ends_a_run() -> None:
    reads = [gap_read(8, 9, stream=A), read([True] * 100, begins=10)]
    assert first_beyond(Standing(50_000, (), {A: 100}), *reads) is None


def test_runs_are_counted_stream_by_stream() -> None:
    pieces = [read([True] * 50, stream, begins) for begins in (1, 51) for stream in (A, B)]
    # Two hundred in a row as they come; each stream alone has a hundred, but the window has all of them.
    assert first_beyond(Standing(0), *pieces) == (A, 51)
    assert "10,000" in judge(Standing(0), batch_of(pieces)).rule


def test_letters_of_all_streams_share_the_window() -> None:
    assert first_beyond(Standing(60, list(range(1, 61))), read([True] * 40, A), read([True], B)) == (B, 1)


def test_numbers_follow_the_records_before_them() -> None:
    reads = [read([False, True, False], A), gap_read(5, 9, stream=B), read([True, False, True], B, begins=10)]
    judged = judge(Standing(1000), batch_of(reads))
    assert [(letter.stream, letter.seq, letter.number) for letter in judged.letters] == [
        (A, 2, 1002),
        (B, 10, 1004),
        (B, 12, 1006),
    ]


def test_repeats_in_a_read_are_counted_once() -> None:
    whole = read([True, False, False, True], A)
    again = StreamRead(A, 4, 5, True, whole.records)
    assert [letter.number for letter in judge(Standing(3, [1]), batch_of([again])).letters] == [4]


def test_what_the_operator_allowed_counts_for_neither_rule() -> None:
    judged = judge(Standing(0, allowed=250), batch_of([read([True] * 400)]))
    assert sum(letter.accepted for letter in judged.letters) == 250
    assert judged.beyond is not None
    assert judged.beyond.seq == 351


@pytest.mark.parametrize("seed", range(10))
def test_the_first_beyond_is_the_one_that_a_count_by_hand_finds(seed: int) -> None:
    """Against a window counted anew at every record, whatever the batches' borders are."""
    dice = random.Random(seed)
    share = dice.choice([0.005, 0.0095, 0.0105, 0.02, 0.3])
    pattern = [dice.random() < share for _ in range(25_000)]
    numbers = [place for place, dead in enumerate(pattern, 1) if dead]
    expected = next((n for n in numbers if sum(n - WINDOW_RECORDS < other <= n for other in numbers) > MOST_DEAD), None)
    assert _walk(pattern, dice) == expected


def _walk(pattern: Sequence[bool], dice: random.Random) -> int | None:
    place, counted = 0, list[int]()
    while place < len(pattern):
        size = dice.randrange(1, 4000)
        batch = batch_of([read(pattern[place : place + size], begins=place + 1)])
        judged = judge(Standing(place, [n for n in counted if n > place - WINDOW_RECORDS]), batch)
        if judged.beyond is not None:
            return judged.beyond.seq
        counted += (letter.number for letter in judged.letters)
        place += size
    return None


def test_before_gives_what_is_settled_ahead_of_the_letter() -> None:
    reads = [read([False] * 3, B), read([False, False], A), read([False, True, False], A, begins=3)]
    letter = batch_of(reads).dead[0]
    assert [(part.stream, part.begins, part.next_seq) for part in before(reads, letter)] == [
        (B, 1, 4),
        (A, 1, 3),
        (A, 3, 4),
    ]
    at_the_start = [read([False], B), read([True], A)]
    assert before(at_the_start, batch_of(at_the_start).dead[0]) == at_the_start[:1]
    with pytest.raises(ValueError, match="none of the reads"):
        before(reads[:1], letter)


def test_a_batch_without_letters_has_nothing_to_judge() -> None:
    assert judge(Standing(0), Batch()) == ([], None, "")
    assert DeadLetter(A, 1, 1, b"", "").accepted is False
