"""Judging postbacks: who may say what, signatures and nonces, bodies, what the inbox keeps of a query.

How a call's fields are read is in ../test_postback.py; answers and the journal are in integration/edge.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.postbacks import (
    NONCE_SECONDS,
    Nonces,
    Pair,
    Sender,
    UnreadableBody,
    contradiction,
    expired,
    form_pairs,
    json_pairs,
    judge,
    masked_query,
    signature,
)
from edge.table import Account, Campaign
from shared import postback
from shared.ids import ClickIds, KeyRing
from tests.unit.edge.builders import NOON_MS, account, address, campaign

CLICK = ClickIds(KeyRing.generate()).issue(7, NOON_MS)
HOUR_MS = 3_600_000


def reason(
    of: Campaign, pairs: list[Pair] | None = None, *, sender: str = "203.0.113.77", owner: Account | None = None,
    nonces: Nonces | None = None, now_ms: int = NOON_MS,
) -> int:  # fmt: skip
    given_pairs = [("clickid", CLICK), *(pairs or [])]
    fields = postback.named(given_pairs)
    call = postback.read(fields, now_ms)
    return judge(of, owner or account(), call, Sender(address(sender), fields, given_pairs), nonces or Nonces(), now_ms)


def signed(token: str, ts: int = NOON_MS // 1000, nonce: str = "n-1", **extra: str) -> list[Pair]:
    pairs = [("ts", str(ts)), ("nonce", nonce), *extra.items()]
    return [*pairs, ("sig", signature(token, [("clickid", CLICK), *pairs]))]


@pytest.mark.parametrize("status", ["approved", "pending"])
def test_an_open_call_may_create(status: str) -> None:
    assert reason(campaign(), [("status", status)]) == postback.ACCEPTED


@pytest.mark.parametrize("status", ["rejected", "refunded", "chargeback"])
def test_an_open_call_may_not_take_money_away(status: str) -> None:
    assert reason(campaign(), [("status", status)]) == postback.HELD_TAKING


@pytest.mark.parametrize(
    ("changes", "payout", "expected"),
    [
        ({"max_payout": "50"}, "50", postback.ACCEPTED),
        ({"max_payout": "50"}, "50.000001", postback.HELD_PAYOUT),
        ({"default_payout": "3"}, "30", postback.ACCEPTED),
        ({"default_payout": "3"}, "30.01", postback.HELD_PAYOUT),
        ({}, "1000", postback.ACCEPTED),
        ({}, "1000.01", postback.HELD_PAYOUT),
        ({"default_payout": "3"}, "", postback.ACCEPTED),
    ],
)
def test_an_open_call_is_held_above_the_payout_limit(changes: dict[str, str], payout: str, expected: int) -> None:
    assert reason(campaign(**changes), [("payout", payout)]) == expected


@pytest.mark.parametrize("security", ["token", "hmac"])
def test_a_call_that_proves_itself_may_do_both(security: str) -> None:
    trusted = campaign(postback_security=security, postback_tokens=("s3cret",), max_payout="1")
    proof = [("token", "s3cret")] if security == "token" else signed("s3cret", payout="-9", status="refunded")
    pairs = [("payout", "-9"), ("status", "refunded"), *proof] if security == "token" else proof
    assert reason(trusted, pairs) == postback.ACCEPTED


@pytest.mark.parametrize(
    ("tokens", "token", "expected"),
    [
        (("new", "old"), "new", postback.ACCEPTED),
        (("new", "old"), "old", postback.ACCEPTED),
        (("new", "old"), "older", postback.BAD_TOKEN),
        (("new", "old"), "", postback.BAD_TOKEN),
        ((), "", postback.BAD_TOKEN),
        (("",), "", postback.BAD_TOKEN),
        (("new",), "nëw", postback.BAD_TOKEN),
    ],
)
def test_either_of_two_tokens_opens(tokens: tuple[str, ...], token: str, expected: int) -> None:
    assert reason(campaign(postback_security="token", postback_tokens=tokens), [("token", token)]) == expected


HMAC = {"postback_security": "hmac", "postback_tokens": ("key-1", "key-2")}


@pytest.mark.parametrize("token", ["key-1", "key-2"])
def test_a_signature_with_either_key_opens(token: str) -> None:
    assert reason(campaign(**HMAC), signed(token, payout="2")) == postback.ACCEPTED


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signature_of_another_time_is_refused(seconds: int) -> None:
    assert reason(campaign(**HMAC), signed("key-1", NOON_MS // 1000 + seconds)) == postback.BAD_SIGNATURE


@pytest.mark.parametrize("seconds", [-300, 300])
def test_clocks_may_differ_by_five_minutes(seconds: int) -> None:
    assert reason(campaign(**HMAC), signed("key-1", NOON_MS // 1000 + seconds)) == postback.ACCEPTED


@pytest.mark.parametrize(
    "pairs",
    [
        signed("wrong"),
        [*signed("key-1"), ("payout", "5")],
        [pair for pair in signed("key-1") if pair[0] != "nonce"],
        [pair for pair in signed("key-1") if pair[0] != "ts"],
        [pair for pair in signed("key-1") if pair[0] != "sig"],
        signed("key-1", nonce=""),
        signed("key-1", nonce="n" * 129),
        [("ts", "now"), *signed("key-1")],
        [],
    ],
)
def test_a_call_that_was_not_signed_as_it_stands_is_refused(pairs: list[Pair]) -> None:
    assert reason(campaign(**HMAC), pairs) == postback.BAD_SIGNATURE


def test_a_signature_is_over_the_sorted_percent_encoded_parameters() -> None:
    import hashlib
    import hmac

    expected = hmac.new(b"k", b"a=1%202&b=%C3%BC%26", hashlib.sha256).hexdigest()
    assert signature("k", [("b", "ü&"), ("sig", "x"), ("a", "1 2")]) == expected


def test_a_nonce_opens_once_in_ten_minutes() -> None:
    nonces = Nonces()
    assert reason(campaign(**HMAC), signed("key-1"), nonces=nonces) == postback.ACCEPTED
    assert reason(campaign(**HMAC), signed("key-1"), nonces=nonces) == postback.BAD_SIGNATURE
    assert reason(campaign(**HMAC), signed("key-1", nonce="n-2"), nonces=nonces) == postback.ACCEPTED


def test_a_forged_call_uses_no_nonce_up() -> None:
    nonces = Nonces()
    assert reason(campaign(**HMAC), signed("wrong"), nonces=nonces) == postback.BAD_SIGNATURE
    assert reason(campaign(**HMAC), signed("key-1"), nonces=nonces) == postback.ACCEPTED


def test_nonces_are_forgotten_after_their_time_and_belong_to_a_campaign() -> None:
    nonces = Nonces()
    assert nonces.first_use(1, "n", NOON_MS)
    assert nonces.first_use(2, "n", NOON_MS)
    assert not nonces.first_use(1, "n", NOON_MS + NONCE_SECONDS * 1000 - 1)
    assert nonces.first_use(1, "n", NOON_MS + NONCE_SECONDS * 1000)


def test_the_memory_of_nonces_is_bounded() -> None:
    nonces = Nonces(capacity=3)
    for number in range(10):
        assert nonces.first_use(1, str(number), NOON_MS)
    assert len(nonces._used) == 3
    assert not nonces.first_use(1, "9", NOON_MS)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("203.0.113.77", postback.ACCEPTED),
        ("203.0.114.1", postback.ADDRESS_NOT_ALLOWED),
        ("2001:db8::77", postback.ACCEPTED),
        ("2001:db9::77", postback.ADDRESS_NOT_ALLOWED),
    ],
)
def test_only_listed_addresses_may_call(sender: str, expected: int) -> None:
    limited = campaign(allowed_ips=("203.0.113.0/24", "2001:db8::/32"))
    assert reason(limited, sender=sender) == expected


def test_a_list_without_a_readable_address_lets_nobody_in() -> None:
    assert reason(campaign(allowed_ips=("nonsense",))) == postback.ADDRESS_NOT_ALLOWED


def test_a_suspended_account_and_a_deleted_campaign_still_take_calls() -> None:
    suspended = account(status="suspended")
    assert reason(campaign(), owner=suspended) == postback.SUSPENDED_ACCOUNT
    assert reason(campaign(status="deleted")) == postback.DELETED_CAMPAIGN
    assert reason(campaign(status="paused")) == postback.ACCEPTED
    # held stays held, or a suspension would let money be taken
    assert reason(campaign(), [("status", "refunded")], owner=suspended) == postback.HELD_TAKING


def test_the_window_is_the_campaigns_own() -> None:
    short = campaign(attribution_window_hours=24)
    assert not expired(short, NOON_MS - 24 * HOUR_MS, NOON_MS)
    assert expired(short, NOON_MS - 24 * HOUR_MS - 1, NOON_MS)


def test_secrets_are_masked_however_they_are_spelt() -> None:
    pairs = [("token", "a"), ("API_Key", "b"), ("api-secret", "c"), ("SIG", "d"), ("password", "e"), ("txid", "f g")]
    assert masked_query(pairs) == "token=***&API_Key=***&api-secret=***&SIG=***&password=***&txid=f%20g"


def test_the_kept_query_is_bounded() -> None:
    assert len(masked_query([("a", "x" * 10_000)])) == 4096


def test_json_members_are_read_as_they_are_written() -> None:
    body = b'{"clickid":"c","payout":12.50,"n":1e3,"yes":true,"no":false,"none":null,"list":[1],"deep":{"a":1}}'
    assert json_pairs(body) == [
        ("clickid", "c"), ("payout", "12.50"), ("n", "1e3"), ("yes", "true"), ("no", "false"), ("none", "")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'"x"', b"1", b"{", b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":"\\u0000"}', b'{"a":"\\ud800"}', b"\xff", b"[" * 16_000, b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
)  # fmt: skip
def test_a_body_that_is_no_plain_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableBody):
        json_pairs(body)


@given(body=st.one_of(st.binary(max_size=100), st.text(alphabet='{}[]":,\\u0a1e.-tfn', max_size=60).map(str.encode)))
def test_no_body_is_an_error_of_the_program(body: bytes) -> None:
    try:
        pairs = json_pairs(body)
    except UnreadableBody:
        return
    assert isinstance(json.loads(body), dict)
    assert all(isinstance(value, str) for _, value in pairs)


def test_a_form_keeps_control_characters_for_the_judge() -> None:
    assert form_pairs(b"txid=a%00b&payout=1+2") == [("txid", "a\x00b"), ("payout", "1 2")]


def test_query_and_body_must_not_differ_in_a_field() -> None:
    assert contradiction({"payout": "1"}, {"payout": "2"}) == "payout"
    assert contradiction({"payout": "1"}, {"payout": "1", "status": "approved"}) is None
