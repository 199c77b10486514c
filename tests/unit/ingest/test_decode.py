"""Covers decode: what each wrong value is called, that nothing but DecodeError ever leaves it, and that the fast path
and the table of checks agree. That the packed columns arrive in Postgres is tests/integration/ingest/test_writer.py."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from management.ingest import wire
from management.ingest.decode import ClickRow, DecodeError, PostbackRow, StrangerRow, decode
from shared.events import CLICK, POSTBACK, STRANGER, Event
from shared.ids import click_id_bytes
from tests.ingest_builders import NOW_MS, click, click_id, kind_of, payload, postback, stranger

STREAM = b"s" * 16


def refusal(event: Event, kind: int | None = None) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(STREAM, 1, kind_of(event) if kind is None else kind, payload(event))
    return str(caught.value)


def test_a_click_becomes_a_row_of_the_day_of_its_id() -> None:
    event = click(ts=NOW_MS + 5 * 86_400_000)
    row = decode(STREAM, 9, CLICK, payload(event))
    assert isinstance(row, ClickRow)
    assert row.click_id == click_id_bytes(event["id"])
    assert row.day == NOW_MS // 86_400_000


def test_a_postback_becomes_a_row() -> None:
    event = postback()
    row = decode(STREAM, 9, POSTBACK, payload(event))
    assert isinstance(row, PostbackRow)
    assert row.id.hex() == event["id"]


def test_a_strangers_request_becomes_a_row() -> None:
    event = stranger()
    row = decode(STREAM, 9, STRANGER, payload(event))
    assert isinstance(row, StrangerRow)
    assert row.id.hex() == event["id"]


WRONG_CLICKS = {
    "true for a number": ({"account": True}, "`account` of the click is not a whole number"),
    "true for a cost": ({"cost": True}, "`cost` of the click is not a whole number"),
    "a fraction": ({"campaign": 7.5, "id": click_id()}, "`campaign` of the click is not a whole number"),
    "a whole number as a fraction": ({"mode": 1.0}, "`mode` of the click is no number known here"),
    "text for a number": ({"asn": "64496"}, "`asn` of the click is not a whole number"),
    "nothing for a number": ({"flags": None}, "`flags` of the click is not a whole number"),
    "an account beyond integer": ({"account": 2**31}, "`account` of the click is not within"),
    "a score beyond smallint": ({"score": 2**15}, "`score` of the click is not within"),
    "a cost beyond bigint": ({"cost": 2**63}, "`cost` of the click is not within"),
    "an unknown mode": ({"mode": 4}, "`mode` of the click is no number known here"),
    "an unknown outcome": ({"outcome": 0}, "`outcome` of the click is no number known here"),
    "an unknown class": ({"class": 9}, "`class` of the click is no number known here"),
    "an unknown fraud type": ({"fraud": -1}, "`fraud` of the click is no number known here"),
    "a time before 1970": ({"ts": -1}, "`ts` of the click is not within"),
    "a time after 9998": ({"ts": 253_370_764_800_000}, "`ts` of the click is not within"),
    "an id's time after 9998": ({"at_ms": 253_370_764_800_000, "ts": 1}, "its id's time is beyond the year 9998"),
    "another campaign's id": ({"id": click_id(8)}, "its id was made for another campaign"),
    "a short id": ({"id": "clk_abc"}, "`id` of the click is not a click id"),
    "an id of another kind": ({"id": "clx_" + click_id()[4:]}, "`id` of the click is not a click id"),
    "an id in the other alphabet": ({"id": "clk_" + "+" * 36}, "`id` of the click is not a click id"),
    "an id with padding": ({"id": click_id()[:-1] + "="}, "`id` of the click is not a click id"),
    "a short digest": ({"visitor": "AAAA"}, "`visitor` of the click is not a digest"),
    "digests that make up for each other": (
        {"visitor": "A" * 12, "visitor_prev": "A" * 20}, "`visitor` of the click is not a digest"
    ),
    "a digest that is no base64": ({"address": "é" * 16}, "`address` of the click is not a digest"),
    "null for text": ({"country": None}, "`country` of the click is not text"),
    "a number for text": ({"os": 17}, "`os` of the click is not text"),
    "a list for text": ({"browser": ["Safari"]}, "`browser` of the click is not text"),
    "null for the address": ({"ip": None}, "`ip` of the click is not text"),
    "NUL in text": ({"device": "mo\0bile"}, "`device` of the click holds a NUL"),
    "NUL deep in details": ({"details": {"subs": {"a": ["x", "b\0"]}}}, "`details` of the click holds a NUL"),
    "NUL in a name in details": ({"details": {"subs\0": {}}}, "`details` of the click holds a NUL"),
    "a list of details": ({"details": []}, "`details` of the click is not an object"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), WRONG_CLICKS.values(), ids=WRONG_CLICKS)
def test_a_wrong_click_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(click(**changes))


WRONG_POSTBACKS = {
    "an id that is no hexadecimal": ({"id": "z" * 32}, "`id` of the postback is not 32 hexadecimal digits"),
    "a short id": ({"id": "ab"}, "`id` of the postback is not 32 hexadecimal digits"),
    "an id in capitals": ({"id": "AB" * 16}, "`id` of the postback is not 32 hexadecimal digits"),
    "a conversion id without prefix": (
        {"conversion_id": "ab" * 16}, "`conversion_id` of the postback is not conv_32 hexadecimal digits"
    ),
    "no click id": ({"click_id": ""}, "`click_id` of the postback is not a click id"),
    "another campaign's click": ({"click_id": click_id(8)}, "its click id was made for another campaign"),
    "a payout as a number": ({"payout": 12.5}, "`payout` of the postback is not an amount"),
    "a payout beyond numeric(18, 6)": ({"payout": "1234567890123"}, "`payout` of the postback is not an amount"),
    "too many decimals": ({"cost_value": "0.1234567"}, "`cost_value` of the postback is not an amount"),
    "an exponent": ({"default_payout": "1E+2"}, "`default_payout` of the postback is not an amount"),
    "an unknown reason": ({"reason": 77}, "`reason` of the postback is no number known here"),
    "a status beyond smallint": ({"http_status": 70_000}, "`http_status` of the postback is not within"),
    "one for true": ({"trusted": 1}, "`trusted` of the postback is neither true nor false"),
    "a time after 9998": ({"time": 10**15}, "`time` of the postback is not within"),
    "NUL in text": ({"transaction_id": "a\0"}, "`transaction_id` of the postback holds a NUL"),
    "an accepted call of no status": ({"status": ""}, "it counts, but its status is none that is known"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), WRONG_POSTBACKS.values(), ids=WRONG_POSTBACKS)
def test_a_wrong_postback_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    event = postback() | changes
    assert reason in refusal(event)


WRONG_STRANGERS = {
    "a short id": ({"id": "ab"}, "`id` of the stranger is not 32 hexadecimal digits"),
    "a reason of nobody": ({"reason": 71}, "`reason` of the stranger is no number known here"),
    "a reason of a proven call": ({"reason": 30}, "`reason` of the stranger is no number known here"),
    "true for a reason": ({"reason": True}, "`reason` of the stranger is no number known here"),
    "a time after 9998": ({"ts": 10**15}, "`ts` of the stranger is not within"),
    "null for text": ({"user_agent": None}, "`user_agent` of the stranger is not text"),
    "NUL in text": ({"path": "/c/\0"}, "`path` of the stranger holds a NUL"),
}


@pytest.mark.parametrize(("changes", "reason"), WRONG_STRANGERS.values(), ids=WRONG_STRANGERS)
def test_a_wrong_strangers_request_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(stranger(**changes))


@pytest.mark.parametrize("field", wire.STRANGER_FIELDS)
def test_a_missing_field_of_a_strangers_request_is_named(field: str) -> None:
    event = stranger()
    del event[field]
    assert refusal(event, STRANGER) == f"the stranger has no `{field}`"


@pytest.mark.parametrize("field", wire.CLICK_FIELDS)
def test_a_missing_field_of_a_click_is_named(field: str) -> None:
    event = click()
    del event[field]
    assert refusal(event, CLICK) == f"the click has no `{field}`"


@pytest.mark.parametrize("field", wire.POSTBACK_FIELDS)
def test_a_missing_field_of_a_postback_is_named(field: str) -> None:
    event = postback()
    del event[field]
    assert refusal(event, POSTBACK) == f"the postback has no `{field}`"


def test_a_refused_call_may_have_no_status() -> None:
    assert isinstance(decode(STREAM, 1, POSTBACK, payload(postback(status="", reason=20))), PostbackRow)


def test_the_written_out_escape_of_a_nul_is_no_nul() -> None:
    event = click(details={"user_agent": "\\u0000 says the visitor"})
    assert isinstance(decode(STREAM, 1, CLICK, payload(event)), ClickRow)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[1]", b"null", b'"text"', b"\xff\xfe", b'{"v":2}', b'{"v":"1"}', b'{"v":1,"id":"\\ud800"}',
     b'{"v":1,"details":' + b"[" * 5000 + b"]" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError, match=r".{10}"):
        decode(STREAM, 1, CLICK, raw)


def test_details_nested_too_deep_are_refused() -> None:
    deep = payload(click(details={"x": 0})).replace(b'{"x":0}', b'{"x":' + b"[" * 600 + b"]" * 600 + b"}")
    with pytest.raises(DecodeError, match=r"cannot be stored|not JSON"):
        decode(STREAM, 1, CLICK, deep)


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    assert refusal(click(), kind) == f"kind {kind} is not known"


def test_a_field_of_a_later_version_is_kept() -> None:
    row = decode(STREAM, 1, CLICK, payload(click(tilt=23)))
    assert row.row.endswith(b'"unread":{"tilt":23}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TELLING: st.SearchStrategy[Any] = st.sampled_from(
    [
        0,
        1,
        2**15,
        -(2**15) - 1,
        2**31,
        2**63,
        1.0,
        True,
        False,
        None,
        "",
        "\0",
        "A" * 16,
        "=" * 16,
        "clk_" + "A" * 36,
        [],
        {},
    ]
)


def problem_of(event: Event, kind: int) -> str | None:
    """Why the event is refused, None when it is not; any other exception leaves."""
    try:
        decode(STREAM, 1, kind, payload(event))
    except DecodeError as error:
        return str(error)
    return None


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(wire.CLICK_FIELDS)), JSON | TELLING)
def test_the_fast_path_takes_exactly_the_clicks_that_the_table_takes(field: str, value: Any) -> None:
    event = click() | {field: value}
    if field == "campaign":
        event["id"] = click_id(value) if type(value) is int and 0 <= value < 2**32 else event["id"]
    allowed = wire.wrong_field("click", wire.CLICK_FIELDS, event) is None
    problem = problem_of(event, CLICK)
    if problem is None:
        assert allowed, event[field]
    else:
        assert not allowed or "another campaign" in problem or "9998" in problem, (event[field], problem)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(wire.POSTBACK_FIELDS)), JSON | TELLING)
def test_a_postback_with_any_value_anywhere_is_a_row_or_a_decode_error(field: str, value: Any) -> None:
    problem = problem_of(postback() | {field: value}, POSTBACK)
    assert problem is None or len(problem) > 10


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(wire.STRANGER_FIELDS)), JSON | TELLING)
def test_a_strangers_request_with_any_value_anywhere_is_a_row_or_a_decode_error(field: str, value: Any) -> None:
    event = stranger() | {field: value}
    problem = problem_of(event, STRANGER)
    assert (problem is None) == (wire.wrong_field("stranger", wire.STRANGER_FIELDS, event) is None)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: payload({"v": 1, "id": value})), st.integers(0, 255))
def test_garbage_is_a_decode_error_and_nothing_else(raw: bytes, kind: int) -> None:
    with pytest.raises(DecodeError):
        decode(STREAM, 1, kind, raw)
