"""Budgets: exactly what a bucket gives over time, what is forgotten and what that gives away, bounded memory.

What is done with a request beyond its budget is in test_strangers.py and in integration/edge/test_strangers.py.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.budget import ADDRESS_STRANGERS, RATE_SECONDS, WORKER_STRANGERS, Buckets, SourceRate, StrangerBudget
from edge.client_ip import ClientAddress
from tests.unit.edge.builders import address

KEY = b"\x7f\x00\x00\x01"


def addresses(count: int, first: int = 0) -> list[ClientAddress]:
    return [ClientAddress(f"address {number}", 4, number) for number in range(first, first + count)]


def given_tokens(buckets: Buckets, key: bytes, now: float, tries: int) -> int:
    return sum(buckets.take(key, now) for _ in range(tries))


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (100, 100), (200, 2_000), (3, 30), (7, 1)])
def test_a_fresh_bucket_gives_its_burst_and_then_its_rate(rate: int, burst: int) -> None:
    buckets = Buckets(rate, burst, 100)
    assert given_tokens(buckets, KEY, 1_000_000.0, 3 * burst) == burst
    seconds = 50
    later = sum(given_tokens(buckets, KEY, 1_000_000.0 + step / (4 * rate), 5) for step in range(4 * rate * seconds))
    assert later == pytest.approx(rate * seconds, abs=1)


def test_silence_gives_no_more_than_one_burst() -> None:
    buckets = Buckets(10, 10, 100)
    for now in (0.0, 3_600.0, 86_400.0):
        assert given_tokens(buckets, KEY, now, 50) == 10


def test_a_refusal_costs_nothing() -> None:
    buckets = Buckets(10, 10, 100)
    given_tokens(buckets, KEY, 0.0, 10_000)
    assert given_tokens(buckets, KEY, 0.5, 50) == 5


def test_one_key_takes_nothing_from_another() -> None:
    buckets = Buckets(10, 10, 100)
    given_tokens(buckets, KEY, 0.0, 50)
    assert given_tokens(buckets, b"other", 0.0, 50) == 10


def test_asking_takes_nothing() -> None:
    buckets = Buckets(1, 1, 10)
    assert all(buckets.has_token(KEY, 0.0) for _ in range(5))
    assert buckets.take(KEY, 0.0)
    assert not buckets.has_token(KEY, 0.0)


class Unforgetting:
    """A bucket for each key as one would first write it: tokens and the moment they were counted."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens: dict[bytes, tuple[float, float]] = {}

    def take(self, key: bytes, now: float) -> bool:
        tokens, counted_at = self._tokens.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted_at) * self._rate)
        enough = tokens >= 0.5
        self._tokens[key] = (tokens - enough, now)
        return enough


@given(
    burst=st.integers(1, 6),
    steps=st.lists(st.tuples(st.integers(0, 7), st.sampled_from((0, 0, 0, 1, 2, 5, 11))), max_size=200),
)
def test_what_is_forgotten_by_time_was_full(burst: int, steps: list[tuple[int, int]]) -> None:
    buckets, unforgetting = Buckets(1, burst, 1_000), Unforgetting(1, burst)
    now = 100.0
    for number, pause in steps:
        now += pause
        key = bytes([number])
        assert buckets.take(key, now) == unforgetting.take(key, now)


def test_a_bucket_is_remembered_until_it_is_full() -> None:
    """However many other keys come meanwhile, as long as there is room for them."""
    buckets = Buckets(1, 10, 1_000)
    given_tokens(buckets, KEY, 0.0, 10)
    for number in range(90):
        buckets.take(number.to_bytes(4, "big"), number / 10)
    assert given_tokens(buckets, KEY, 9.0, 50) == 9


def test_full_buckets_are_forgotten() -> None:
    buckets = Buckets(10, 10, 1_000_000)
    for second in range(100):
        for number in range(1_000):
            assert buckets.take(number.to_bytes(4, "big") + bytes([second]), float(second))
    assert len(buckets) <= 4_000


def test_memory_is_bounded_when_too_many_keys_come_at_once() -> None:
    buckets = Buckets(1, 1_000, 64)
    for number in range(10_000):
        assert buckets.take(number.to_bytes(4, "big"), 0.0)
        assert len(buckets) <= 64


def test_who_goes_on_sending_is_not_forgotten_in_a_flood() -> None:
    buckets = Buckets(10, 10, 64)
    given_tokens(buckets, KEY, 0.0, 10)
    taken = 0
    for number in range(5_000):
        now = number / 1_000
        buckets.take(number.to_bytes(4, "big"), now)
        taken += buckets.take(KEY, now)
    assert taken == pytest.approx(5 * 10, abs=1)


def test_an_address_is_kept_ten_times_a_second_and_all_of_them_a_hundred_times() -> None:
    budget = StrangerBudget()
    (one,) = addresses(1)
    assert sum(budget.take(one, 0.0) for _ in range(500)) == ADDRESS_STRANGERS == 10
    rest = sum(budget.take(other, 0.0) for other in addresses(500, first=1) for _ in range(20))
    assert rest == WORKER_STRANGERS - 10 == 90
    assert sum(budget.take(other, 1.0) for other in addresses(5_000, first=1_000)) == WORKER_STRANGERS


def test_a_flood_from_ever_new_addresses_gets_the_workers_rate_and_no_memory() -> None:
    budget = StrangerBudget()
    kept = 0
    for number, sender in enumerate(addresses(100_000)):
        kept += budget.take(sender, number / 10_000)
        assert len(budget) <= 4 * WORKER_STRANGERS
    assert kept == pytest.approx(WORKER_STRANGERS * (1 + 10), abs=1)


def test_an_address_beyond_its_budget_takes_nothing_from_the_others() -> None:
    budget = StrangerBudget()
    loud, *others = addresses(10)
    for _ in range(10_000):
        budget.take(loud, 0.0)
    assert sum(budget.take(other, 0.0) for other in others for _ in range(20)) == 90


def test_a_flooded_worker_keeps_nothing_against_an_address() -> None:
    budget = StrangerBudget()
    late, *flood = addresses(1_000)
    for sender in flood:
        budget.take(sender, 0.0)
    assert not budget.take(late, 0.0)
    assert sum(budget.take(late, 1.0) for _ in range(20)) == 10


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.1", "203.0.113.2", False),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
    ],
)
def test_an_ipv6_sender_has_one_budget_for_its_64(first: str, second: str, shared: bool) -> None:
    budget, rate = StrangerBudget(), SourceRate(1)
    for _ in range(100):
        budget.take(address(first), 0.0)
        rate.take(address(first), 0.0)
    assert budget.take(address(second), 0.0) is not shared
    assert rate.take(address(second), 0.0) is not shared


def test_a_source_may_send_ten_seconds_worth_at_once() -> None:
    rate = SourceRate(200)
    (sender,) = addresses(1)
    assert sum(rate.take(sender, 5.0) for _ in range(5_000)) == 200 * RATE_SECONDS == 2_000
    assert sum(rate.take(sender, 6.0) for _ in range(5_000)) == 200


def test_a_rate_of_nothing_lets_everything_through() -> None:
    rate = SourceRate(0)
    assert all(rate.take(address(), 0.0) for _ in range(10_000))


def test_forgetting_a_source_costs_more_calls_than_it_gives_back() -> None:
    """At the default rate: a burst of 2,000 for more than eight times as many calls of other sources."""
    rate = SourceRate(200)
    loud, *others = addresses(40_000)
    while rate.take(loud, 0.0):
        pass
    for other in others[: 8 * 200 * RATE_SECONDS]:
        rate.take(other, 0.0)
    assert not rate.take(loud, 0.0)


def test_tokens_come_one_by_one() -> None:
    buckets = Buckets(4, 2, 10)
    moments = [step / 100 for step in range(400) if buckets.take(KEY, step / 100)]
    assert all(later - earlier == pytest.approx(0.25, abs=0.02) for earlier, later in pairwise(moments[2:]))
