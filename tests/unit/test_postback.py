"""Covers the reading of a conversion call. What the edge answers: tests/integration/edge; what it does: tests/unit/fold."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import postback
from shared.postback import RefusedPostback

NOW = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000)


def read(**fields: str) -> postback.PostbackCall:
    return postback.read({"click_id": "clk_x", **fields}, NOW)


def refusal(**fields: str) -> int:
    with pytest.raises(RefusedPostback) as caught:
        read(**fields)
    return caught.value.reason


def test_a_bare_call_is_an_approved_conversion_of_the_default_payout() -> None:
    assert read() == postback.PostbackCall("clk_x", "", "", "approved", None, None, None)


@pytest.mark.parametrize("name", ["clickid", "CLICK_ID", "Click-Id", "cid", "subid", "sub_id", "cnv_id", "hit"])
def test_the_click_id_has_many_names(name: str) -> None:
    assert postback.named([(name, "clk_x")]) == {"click_id": "clk_x"}


def test_the_first_of_a_name_wins_and_strangers_are_dropped() -> None:
    pairs = [("txid", "a"), ("transaction_id", "b"), ("color", "red"), ("clickid", ""), ("cid", "c")]
    assert postback.named(pairs) == {"transaction_id": "a", "click_id": "c"}


@pytest.mark.parametrize("payout", ["abc", "1e3", "1,50", "NaN", "-5", "1.1234567", "9" * 13])
def test_a_payout_that_is_no_plain_amount_is_refused(payout: str) -> None:
    assert refusal(payout=payout) == postback.INVALID_PAYOUT


def test_money_is_taken_back_only_by_a_refund_or_chargeback() -> None:
    assert read(payout="-5", status="refunded").payout == Decimal(-5)
    assert refusal(payout="-5", status="rejected") == postback.INVALID_PAYOUT


@pytest.mark.parametrize("value", ["{payout}", "${AMOUNT}", "%%PAYOUT%%", "[payout]", "#payout#", "{"])
def test_a_macro_the_sender_did_not_fill_is_named(value: str) -> None:
    assert refusal(payout=value) == postback.UNEXPANDED_MACRO


def test_an_unexpanded_click_id_is_named_before_it_is_called_forged() -> None:
    assert refusal(click_id="{clickid}") == postback.UNEXPANDED_MACRO


def test_an_unknown_status_is_refused() -> None:
    assert refusal(status="maybe") == postback.UNKNOWN_STATUS
    assert read(status="Approved").status == "approved"


@pytest.mark.parametrize("text", ["x" * 129, "a\x00b", "a\nb"])
def test_a_transaction_id_has_bounds(text: str) -> None:
    assert refusal(transaction_id=text) == postback.INVALID_TRANSACTION_ID


def test_a_missing_click_id_is_refused() -> None:
    assert refusal(click_id="  ") == postback.MISSING_CLICK_ID


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1767225600", 1_767_225_600_000),
        ("1767225600123", 1_767_225_600_123),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T02:00:00+02:00", 1_767_225_600_000),
        ("2026-01-01", 1_767_225_600_000),
        ("", None),
        ("yesterday", None),
        ("2099-01-01", None),
        ("99999999999999999999", None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_the_callers_time_is_taken_when_it_can_be(text: str, moment: int | None) -> None:
    assert postback.event_time(text, NOW) == moment


@given(st.dictionaries(st.sampled_from(sorted(set(postback._NAMES.values()))), st.text(max_size=200)))
def test_no_input_gives_another_exception(fields: dict[str, str]) -> None:
    reason = postback.ACCEPTED
    try:
        postback.read(fields, NOW)
    except RefusedPostback as refused:
        reason = refused.reason
    assert reason in postback.REASONS


@pytest.mark.parametrize(("text", "answer"), [("OK", "OK"), ("<b>", None), ("x" * 33, None), ("", None)])
def test_a_plain_answer_is_short_and_harmless(text: str, answer: str | None) -> None:
    assert postback.plain_answer({"return": text}) == answer
