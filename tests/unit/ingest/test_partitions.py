"""Covers the arithmetic of shares: even, complete, and settled after few looks. What it does to leases in a real
Postgres is tests/integration/ingest_kafka/test_share.py."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.ingest.sources.partitions import Seen, fair_change


@pytest.mark.parametrize(
    ("partitions", "members", "shares"),
    [(12, 1, [12]), (12, 2, [6, 6]), (12, 3, [4, 4, 4]), (12, 5, [3, 3, 2, 2, 2]), (2, 3, [1, 1, 0])],
)
def test_shares_are_even_and_complete(partitions: int, members: int, shares: list[int]) -> None:
    free = {number: Seen(0, taken=False) for number in range(partitions)}
    assert [len(fair_change(rank, members, free, ()).take) for rank in range(members)] == shares


def test_nothing_is_taken_from_one_that_is_alive() -> None:
    seen = {0: Seen(1, taken=True), 1: Seen(1, taken=False), 2: Seen(1, taken=True)}
    assert fair_change(0, 1, seen, ()).take == [1]


def test_what_is_more_than_the_share_is_let_go() -> None:
    seen = {number: Seen(1, taken=True) for number in range(12)}
    assert fair_change(0, 2, seen, range(12)).let_go == [6, 7, 8, 9, 10, 11]
    assert fair_change(1, 2, seen, ()) == ([], [])


@given(
    partitions=st.integers(1, 30),
    lives=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=5),
)
def test_whoever_comes_and_goes_all_is_read_by_one(partitions: int, lives: list[set[int]]) -> None:
    held: dict[int, set[int]] = {}
    for living in lives:
        held = {member: held.get(member, set()) for member in living}
        for _ in range(3):
            for rank, member in enumerate(sorted(living)):
                taken = {number for other, numbers in held.items() if other != member for number in numbers}
                seen = {number: Seen(1, number in taken) for number in range(partitions)}
                change = fair_change(rank, len(living), seen, held[member])
                held[member] = (held[member] - set(change.let_go)) | set(change.take)
    readers = Counter(number for numbers in held.values() for number in numbers)
    assert readers == dict.fromkeys(range(partitions), 1)
    shares = [len(numbers) for numbers in held.values()]
    assert max(shares) - min(shares) <= 1
