"""Covers the chunks that clicks are filled in. That they are what ingest and fold make is
tests/integration/benchmarks/test_filling.py."""

from datetime import UTC, datetime

import pytest

from benchmarks.filling import CHUNK, Clicks

DAY = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize("count", [0, 4, CHUNK - 4, CHUNK, CHUNK + 4, 3 * CHUNK])
def test_chunks_cover_every_click_once(count: int) -> None:
    numbers = [number for first, last in Clicks(DAY, 86_400, 8, count, 1, 1, 1).chunks() for number in (first, last)]
    assert numbers == sorted(numbers)
    assert sum(last - first + 1 for first, last in zip(numbers[::2], numbers[1::2], strict=True)) == count
    if count:
        assert (numbers[0], numbers[-1]) == (8, 8 + count - 1)


@pytest.mark.parametrize(
    ("first", "count", "seconds"),
    [(1, 4, 60), (0, 5, 60), (0, 2004, 2)],
    ids=["a visitor's end", "half a visitor", "too many"],
)
def test_what_would_make_other_labels_than_fold_is_refused(first: int, count: int, seconds: int) -> None:
    with pytest.raises(ValueError, match="visitors"):
        Clicks(DAY, seconds, first, count, 1, 1, 1)
