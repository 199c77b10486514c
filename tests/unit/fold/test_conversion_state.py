"""Covers what a set of postbacks of one key makes of its conversion: transitions, duplicate modes, open channels, amounts
and cost, and that the order of arrival changes nothing. Attaching to clicks and roll-ups: integration/fold."""

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from management.fold.conversion_state import Call, Conversion, conversion_cost, settle
from shared.postback import ACCEPTED, DUPLICATE, HELD_TAKING, STATUSES, TRANSITION, UPDATED

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_NUMBER = itertools.count(1)


def call(status: str = "approved", payout: str | None = "10", minute: int = 0, **changes: object) -> Call:
    number = next(_NUMBER)
    made = Call(
        id=number.to_bytes(16, "big"),
        happened_at=NOON + timedelta(minutes=minute),
        arrived_at=NOON + timedelta(minutes=minute),
        stream=b"s" * 16,
        seq=number,
        status=status,
        payout=None if payout is None else Decimal(payout),
        default_payout=None,
        currency="USD",
        trusted=True,
        duplicate_mode="ignore",
        cost_model=None,
        cost_value=None,
        origin="postback",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def state(*calls: Call) -> Conversion:
    made = settle(calls).conversion
    assert made is not None
    return made


def reasons(*calls: Call) -> list[int]:
    decided = settle(calls).reasons
    return [decided[each.id] for each in calls]


@pytest.mark.parametrize("status", ["pending", "approved", "rejected"])
def test_a_first_call_creates_the_conversion(status: str) -> None:
    first = call(status)
    made = state(first)
    assert (made.status, made.original_status, made.payout, made.converted_at) == (status, status, Decimal(10), NOON)
    assert reasons(first) == [ACCEPTED]


@pytest.mark.parametrize("status", ["refunded", "chargeback"])
def test_nothing_can_be_given_back_that_was_never_there(status: str) -> None:
    assert settle([call(status)]).conversion is None
    assert reasons(call(status)) == [TRANSITION]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATUSES, STATUSES)))
def test_the_table_of_transitions(before: str, after: str) -> None:
    allowed = {
        "pending": {"approved", "rejected"},
        "approved": {"rejected", "refunded", "chargeback"},
    }
    way = [call("approved")] if before in ("refunded", "chargeback") else []
    way.append(call(before, minute=1))
    last = call(after, minute=2)
    if before == after:
        expected = (before, DUPLICATE)
    elif after in allowed.get(before, set()):
        expected = (after, UPDATED)
    else:
        expected = (before, TRANSITION)
    assert (state(*way, last).status, reasons(*way, last)[-1]) == expected


def test_the_original_status_and_the_time_of_the_first_call_stay() -> None:
    made = state(call("pending", minute=3), call("approved", minute=9))
    assert (made.original_status, made.converted_at) == ("pending", NOON + timedelta(minutes=3))


def test_ignore_keeps_the_first_amount() -> None:
    first, repeat = call(payout="10"), call(payout="99", minute=1)
    assert state(first, repeat).payout == 10
    assert reasons(first, repeat) == [ACCEPTED, DUPLICATE]


def test_update_takes_the_last_amount_and_add_sums_them() -> None:
    for mode, total in (("update", 7), ("add", 37)):
        calls = [call(payout=payout, minute=n, duplicate_mode=mode) for n, payout in enumerate(("10", "20", "7"))]
        assert state(*calls).payout == total
        assert reasons(*calls) == [ACCEPTED, UPDATED, UPDATED]


def test_a_status_may_change_in_every_mode() -> None:
    for mode in ("ignore", "update", "add", "new"):
        made = state(call("pending", "10", duplicate_mode=mode), call("approved", "12", 1, duplicate_mode=mode))
        assert (made.status, made.payout) == ("approved", Decimal(12)), mode


def test_a_reversal_keeps_the_amount_that_it_reverses() -> None:
    assert state(call(payout="10"), call("refunded", "-10", 1)).payout == 10
    repeat = call("refunded", "-4", 2, duplicate_mode="update")
    assert state(call(payout="10"), call("refunded", "-3", 1), repeat).payout == 10


def test_without_a_payout_the_default_counts_and_else_nothing() -> None:
    assert state(call(payout=None, default_payout=Decimal("4.5"))).payout == Decimal("4.5")
    assert state(call(payout=None)).payout == 0
    assert state(call("pending", "8"), call("approved", None, 1, default_payout=Decimal(3))).payout == 8


def test_time_of_the_call_and_then_rank_decide_the_order() -> None:
    late, early = call("approved", minute=5), call("pending", minute=0, arrived_at=NOON + timedelta(hours=1))
    assert state(late, early).original_status == "pending"
    assert state(call("rejected"), call("approved"), call("pending")).status == "rejected"


def test_an_open_call_only_creates_and_approves() -> None:
    created, approved = call("pending", trusted=False), call("approved", None, 1, trusted=False)
    assert state(created, approved).status == "approved"
    for status in ("rejected", "refunded", "chargeback"):
        taking = call(status, minute=2, trusted=False)
        assert state(created, approved, taking).status == "approved"
        assert reasons(created, approved, taking)[-1] == HELD_TAKING
        assert settle([taking]).conversion is None
        assert reasons(taking) == [HELD_TAKING]


def test_a_lower_amount_of_an_open_call_is_held_and_a_higher_one_counts() -> None:
    first = call(payout="10", trusted=False, duplicate_mode="update")
    lower = call(payout="9", minute=1, trusted=False, duplicate_mode="update")
    higher = call(payout="11", minute=2, trusted=False, duplicate_mode="update")
    assert state(first, lower, higher).payout == 11
    assert reasons(first, lower, higher) == [ACCEPTED, HELD_TAKING, UPDATED]
    waiting, cheap = call("pending", "10", trusted=False), call("approved", "1", 1, trusted=False)
    assert (state(waiting, cheap).status, reasons(waiting, cheap)[1]) == ("pending", HELD_TAKING)


def test_an_open_call_never_blocks_a_later_trusted_one() -> None:
    forged = call("approved", "900", trusted=False)
    genuine = call("pending", "10", 1)
    made = state(forged, genuine)
    assert (made.status, made.original_status, made.payout) == ("pending", "pending", Decimal(10))
    assert state(forged, call("approved", None, 1, default_payout=Decimal(4))).payout == 4
    refund = call("refunded", None, 1)
    assert (state(forged, refund).status, state(forged, refund).payout) == ("refunded", Decimal(900))


def test_an_open_approval_of_a_trusted_conversion_changes_no_amount_and_blocks_nothing() -> None:
    pending, approval, final = (
        call("pending", "10"),
        call("approved", "50", 1, trusted=False),
        call("approved", "12", 2),
    )
    assert (state(pending, approval).status, state(pending, approval).payout) == ("approved", Decimal(10))
    assert (state(pending, approval, final).status, state(pending, approval, final).payout) == ("approved", Decimal(12))
    late_forgery = call("approved", "900", 3, trusted=False, duplicate_mode="update")
    assert state(pending, approval, final, late_forgery).payout == 12
    assert reasons(pending, late_forgery, call("rejected", minute=2))[-1] == UPDATED


def test_cost_follows_the_model_while_approved() -> None:
    cpa = {"cost_model": "cpa", "cost_value": Decimal("2.5")}
    share = {"cost_model": "revshare", "cost_value": Decimal("33.333333")}
    assert conversion_cost(state(call(**cpa)), from_link=False) == Decimal("2.5")  # type: ignore[arg-type]
    assert conversion_cost(state(call(**cpa)), from_link=True) == 0  # type: ignore[arg-type]
    assert conversion_cost(state(call("pending", **cpa)), from_link=False) == 0  # type: ignore[arg-type]
    assert conversion_cost(state(call(), call("refunded", minute=1)), from_link=False) == 0
    exact = conversion_cost(state(call(payout="123456789012.123456", **share)), from_link=False)  # type: ignore[arg-type]
    assert Fraction(exact) == Fraction("123456789012.123456") * Fraction("33.333333") / 100
    assert conversion_cost(state(call(cost_model="cpc", cost_value=Decimal(1))), from_link=False) == 0


def test_any_order_of_arrival_gives_one_end_state_and_the_same_decisions() -> None:
    for seed in range(300):
        dice = random.Random(seed)
        calls = [
            call(
                dice.choice(STATUSES),
                dice.choice([None, "5", "10", "20"]),
                dice.randint(0, 3),
                trusted=dice.random() < 0.6,
                duplicate_mode=dice.choice(["ignore", "update", "add"]),
                default_payout=dice.choice([None, Decimal(3)]),
            )
            for _ in range(dice.randint(1, 6))
        ]
        expected = settle(calls)
        for _ in range(10):
            dice.shuffle(calls)
            assert settle(calls) == expected, f"seed {seed}"
