"""A conversion call from its bytes to its reason: every spelling of names, every body, every signature, and what the
inbox may show of it.

Examples of each rule are in ../edge/test_postbacks.py and ../test_postback.py; answers and the journal are in
integration/edge.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge.postbacks import (
    MASK,
    MAX_BODY,
    Nonces,
    Pair,
    Sender,
    UnreadableBody,
    contradiction,
    form_pairs,
    json_pairs,
    judge,
    masked_query,
    signature,
)
from shared import postback
from shared.money import parse_payout
from shared.postback import PostbackCall, RefusedPostback
from tests.unit.edge.builders import NOON_MS, account, address, campaign
from tests.unit.fuzz.effort import searched
from tests.unit.fuzz.hostile import clean_texts, queries, raw_values

OURS = {
    "click_id": ("clickid", "click_id", "CID", "sub-id", "subid", "cnv_id", "Hit", "c_l_i_c_k_i_d"),
    "payout": ("payout", "PAY_OUT"),
    "transaction_id": ("txid", "tx-id", "transaction_id", "TransactionId"),
    "status": ("status", "S_tatus"),
    "event": ("event",),
    "currency": ("currency",),
    "time": ("time",),
    "token": ("token", "TO_KEN"),
    "nonce": ("nonce",),
    "ts": ("ts", "t_s"),
    "sig": ("sig", "S-I-G"),
    "return": ("return",),
}
STRANGE = ("color", "click", "id", "tokens", "sig2", "", "é", "payout[]", "status ", "subid1")
SECRETS = (
    "token",
    "Token",
    "to_ken",
    "api_key",
    "API-KEY",
    "apikey",
    "sig",
    "SIG",
    "password",
    "Pass-Word",
    "api_secret",
)
VALUES = (
    "", " ", "1", "0", "-1", "1.5", "-1.5", "1,5", "1e3", "٣", "9" * 13, "0.0000001", "NaN", "clk_x", "approved",
    "APPROVED", " refunded ", "chargeback", "lost", "EUR", "eur", "€UR", "{payout}", "%%X%%", "${Y}", "[CLICK]", "#id#",
    "x" * 129, "a\nb", "a\x00b", "1790000000", "1790000000123", "2026-09-21T15:33:20Z", "2099-01-01", "0001-01-01",
    "9999-12-31T23:59:59+00:01", "2024-W01-1", "20240101T000000",
)  # fmt: skip
_names = st.sampled_from([spelling for spellings in OURS.values() for spelling in spellings] + list(STRANGE))
_pairs = st.lists(st.tuples(_names, st.sampled_from(VALUES) | clean_texts), max_size=8)


_spelt = {
    "click_id": ("clk_x", " clk_x "),
    "payout": ("1", "0", "-1", "1.5", "-1.5", "1,5", "1e3", "٣", "9" * 13, "0.0000001", ""),
    "transaction_id": ("T-1", "x" * 128, "x" * 129, "a\nb", "a\x00b", ""),
    "event": ("lead", "x" * 129, "a\x7fb"),
    "status": ("approved", "APPROVED", " refunded ", "chargeback", "rejected", "pending", "lost", ""),
    "currency": ("EUR", "eur", "€UR", "EURO"),
    "time": (str(NOON_MS), str(NOON_MS // 1000), str(NOON_MS + 400_000), "2026-09-21", "9999-12-31", "-1", "soon"),
}


@st.composite
def _calls(draw: st.DrawFn) -> list[Pair]:
    """Mostly well-formed, so that each field's own fault decides."""
    chosen = draw(st.sets(st.sampled_from(sorted(_spelt)), max_size=3)) | {"click_id"}
    return [(draw(st.sampled_from(OURS[name])), draw(st.sampled_from(_spelt[name]))) for name in sorted(chosen)]


def call_or_reason(fields: dict[str, str], now_ms: int) -> PostbackCall | int:
    try:
        return postback.read(fields, now_ms)
    except RefusedPostback as refusal:
        return refusal.reason


@searched
@given(
    _pairs | st.lists(st.tuples(st.sampled_from(("cid", "hit", "payout")), st.sampled_from(("", "1", "2"))), max_size=5)
)
def test_the_first_spelling_with_a_value_is_the_field(pairs: list[Pair]) -> None:
    fields = postback.named(pairs)
    for ours, spellings in OURS.items():
        given_values = [value for name, value in pairs if normal(name) in set(map(normal, spellings))]
        filled = [value for value in given_values if value]
        assert fields.get(ours) == (filled[0] if filled else "" if given_values else None)
    assert fields.keys() <= OURS.keys()


@searched
@given(_pairs | _calls(), st.just(NOON_MS) | st.integers(0, 2**45))
@example([("cid", "clk_x"), ("payout", "-1"), ("status", "rejected")], NOON_MS)
@example([("cid", "clk_x"), ("time", str(NOON_MS + 300_001))], NOON_MS)
def test_a_call_is_read_as_the_contract_has_it_or_refused_by_one_reason(pairs: list[Pair], now_ms: int) -> None:
    fields = postback.named(pairs)
    faults = {reason for reason in FAULTS if is_faulty(fields, reason)}
    call = call_or_reason(fields, now_ms)
    if isinstance(call, int):
        assert call in faults
        return
    assert not faults
    assert call.click_id == fields["click_id"].strip()
    assert call.status == (fields.get("status", "").strip().lower() or "approved")
    amount = fields.get("payout", "").strip()
    assert (call.payout is None) == (amount == "")
    assert call.payout is None or call.payout == parse_payout(amount)
    assert call.transaction_id == fields.get("transaction_id", "").strip()
    assert call.currency is None or re.fullmatch("[A-Z]{3}", call.currency)
    assert call.time_ms is None or 0 <= call.time_ms <= now_ms + 300_000


FAULTS = (
    postback.MISSING_CLICK_ID, postback.INVALID_PAYOUT, postback.UNEXPANDED_MACRO, postback.UNKNOWN_STATUS,
    postback.INVALID_TRANSACTION_ID,
)  # fmt: skip


def is_faulty(fields: dict[str, str], reason: int) -> bool:
    """Whether the fields have the fault that `reason` names."""
    status = fields.get("status", "").strip().lower() or "approved"
    match reason:
        case postback.MISSING_CLICK_ID:
            return not fields.get("click_id", "").strip()
        case postback.INVALID_PAYOUT:
            text = fields.get("payout", "").strip()
            plain = re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", text)
            negative = plain is not None and float(text) < 0
            return bool(text) and (plain is None or (negative and status not in ("refunded", "chargeback")))
        case postback.UNKNOWN_STATUS:
            return status not in ("pending", "approved", "rejected", "refunded", "chargeback")
        case postback.INVALID_TRANSACTION_ID:
            texts = [fields.get(name, "").strip() for name in ("transaction_id", "event")]
            return any(len(text) > 128 or re.search(r"[\x00-\x1f\x7f]", text) for text in texts)
        case _:
            names = ("click_id", "payout", "transaction_id", "status", "event", "currency", "time")
            return any(re.search(r"[{}]|%%|\[[A-Za-z_]+\]|#[a-z_]+#", fields.get(name, "")) for name in names)


@searched
@given(st.lists(st.tuples(clean_texts, clean_texts), max_size=6))
def test_a_form_reads_back_as_it_was_encoded(pairs: list[Pair]) -> None:
    assert form_pairs(urlencode(pairs).encode()) == pairs
    assert form_pairs(urlencode(pairs, quote_via=quote).encode()) == pairs


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | clean_texts,
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(clean_texts, deeper, max_size=2),
    max_leaves=6,
)


@searched
@given(
    st.dictionaries(_names | clean_texts, _json, max_size=6),
    st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32")),
)
def test_a_json_body_gives_its_plain_members(members: dict[str, Any], encoding: str) -> None:
    body = json.dumps(members, ensure_ascii=False).encode(encoding)
    plain = {name: value for name, value in members.items() if not isinstance(value, dict | list)}
    if any("\x00" in value for value in plain.values() if isinstance(value, str)):
        with pytest.raises(UnreadableBody):
            json_pairs(body)
        return
    words = {None: "", True: "true", False: "false"}
    expected = [
        (
            name,
            words[value]
            if value is None or isinstance(value, bool)
            else value
            if isinstance(value, str)
            else json.dumps(value),
        )
        for name, value in plain.items()
    ]
    assert json_pairs(body) == expected


@searched
@given(
    st.lists(st.tuples(st.sampled_from(("a", "b", "payout")), st.sampled_from((1, "x", None, {"c": 1}))), max_size=4)
)
def test_a_json_body_that_repeats_a_name_is_refused(members: list[tuple[str, Any]]) -> None:
    body = ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}").encode()
    if len({name for name, _ in members}) < len(members):
        with pytest.raises(UnreadableBody):
            json_pairs(body)
    else:
        assert len(json_pairs(body)) == sum(1 for _, value in members if not isinstance(value, dict))


@searched
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text('{}[]":,\\u0dabfnulltre-+.eE1 ', max_size=80).map(str.encode),
        st.integers(0, MAX_BODY).map(lambda length: b"[" * length),
        st.integers(30, 35).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth),
        st.just(b'{"a":' + b"9" * 16_000 + b"}"),
        st.just(b'{"a":1e999}'),
    )
)
def test_no_body_is_more_than_text_or_another_error(body: bytes) -> None:
    try:
        found = json_pairs(body)
    except UnreadableBody:
        return
    for name, value in found:
        assert isinstance(name, str)
        assert isinstance(value, str)
        assert "\x00" not in value
        (name + value).encode()
    assert masked_query(found) is not None


@searched
@given(queries)
def test_no_query_is_an_error_and_what_is_kept_of_it_is_one_again(query: bytes) -> None:
    found = form_pairs(query)
    kept = masked_query(found)
    assert len(kept) <= 4096
    assert re.fullmatch(r"[A-Za-z0-9_.~%=&*-]*", kept)
    if len(kept) < 4096:
        again = parse_qsl(kept, keep_blank_values=True)
        assert [name for name, _ in again] == [name for name, _ in found]
    assert call_or_reason(postback.named(found), NOON_MS) is not None


@searched
@given(
    st.lists(st.tuples(st.sampled_from(SECRETS) | _names, st.just("hush") | clean_texts), max_size=9),
    st.integers(0, 900),
)
def test_no_secret_is_kept_however_it_is_spelt(pairs: list[Pair], filler: int) -> None:
    secret = "Zq7.hidden.Zq7"
    spelt = [(name, secret if normal(name) in HIDDEN else value) for name, value in pairs]
    kept = masked_query([("a", "x" * filler * 5), *spelt])
    assert secret not in kept
    for part in range(len(secret) - 5):
        assert secret[part : part + 6] not in kept
    if len(kept) < 4096:
        assert kept.count(f"={MASK}") == sum(1 for name, _ in spelt if normal(name) in HIDDEN)


HIDDEN = ("token", "sig", "apikey", "apisecret", "password")


def normal(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


KEYS = ("key-1", "ключ")
SIGNED = campaign(postback_security="hmac", postback_tokens=KEYS)


def reason_of(pairs: list[Pair], now_ms: int = NOON_MS, nonces: Nonces | None = None) -> int:
    fields = postback.named(pairs)
    call = PostbackCall("clk_x", "", "", "approved", None, None, None)
    return judge(SIGNED, account(), call, Sender(address(), fields, pairs), nonces or Nonces(), now_ms)


_signable = st.lists(
    st.tuples(st.sampled_from(("clickid", "payout", "txid", "x", "é")), clean_texts), unique_by=lambda p: p[0]
)


def signed(pairs: list[Pair], key: str, nonce: str = "n", ts: int = NOON_MS // 1000) -> list[Pair]:
    whole = [*pairs, ("ts", str(ts)), ("nonce", nonce)]
    return [*whole, ("sig", signature(key, whole))]


@searched
@given(_signable, st.sampled_from(KEYS), st.integers(-400, 400), st.randoms(use_true_random=False))
def test_a_signed_call_opens_in_its_time_in_any_order_and_once(
    pairs: list[Pair], key: str, late: int, chance: Any
) -> None:
    whole = signed(pairs, key)
    chance.shuffle(whole)
    now_ms = NOON_MS + late * 1000
    nonces = Nonces()
    expected = postback.ACCEPTED if abs(late) <= 300 else postback.BAD_SIGNATURE
    assert reason_of(whole, now_ms, nonces) == expected
    assert reason_of(whole, now_ms, nonces) == postback.BAD_SIGNATURE


@searched
@given(_signable, st.data())
def test_a_signed_call_that_was_changed_anywhere_is_refused(pairs: list[Pair], data: st.DataObject) -> None:
    whole = signed(pairs, "key-1")
    place = data.draw(st.integers(0, len(whole)))
    name = data.draw(st.sampled_from(("clickid", "payout", "x", "ts", "nonce")))
    value = data.draw(st.sampled_from(VALUES) | clean_texts)
    way = data.draw(st.sampled_from(("put", "take", "change", "rename")))
    if way == "put":
        changed = [*whole[:place], (name, value), *whole[place:]]
    elif place == len(whole):
        return
    elif way == "take":
        changed = whole[:place] + whole[place + 1 :]
    elif way == "change":
        changed = [*whole[:place], (whole[place][0], value), *whole[place + 1 :]]
    else:
        changed = [*whole[:place], (whole[place][0] + "_", whole[place][1]), *whole[place + 1 :]]
    assume(changed != whole)
    assert reason_of(changed) == postback.BAD_SIGNATURE


@searched
@given(clean_texts, clean_texts, clean_texts)
@example("a", "b&c=d", "e")
@example("a", "b", "c=d")
def test_no_two_calls_share_a_signature_by_their_separators(first: str, second: str, third: str) -> None:
    one = [(first, second), (third, "")]
    # what the same text would be if names and values stood in it as they are
    joined = "&".join(f"{name}={value}" for name, value in one)
    other = [(name, value) for name, _, value in (piece.partition("=") for piece in joined.split("&"))]
    swapped = [(third, second), (first, "")]
    for pairs in (other, swapped):
        assert (signature("k", pairs) == signature("k", one)) == (sorted(pairs) == sorted(one))


@searched
@given(st.lists(st.tuples(clean_texts, clean_texts), max_size=4), st.lists(raw_values, max_size=3))
def test_a_contradiction_is_a_field_that_both_name(query: list[Pair], body: list[bytes]) -> None:
    one = dict(query)
    other = dict(query[:2]) | {raw.decode("latin-1"): "x" for raw in body}
    found = contradiction(one, other)
    differing = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    assert (found is None) == (not differing)
    assert found is None or found in differing


@searched
@given(
    st.sampled_from(("open", "token", "hmac")),
    st.sampled_from(("approved", "pending", "rejected", "refunded", "chargeback")),
    st.sampled_from((None, "-1", "1", "1000", "1000.01")),
    st.sampled_from(("", "t", "T", "t ", "tt", "é")),
    st.booleans(),
    st.booleans(),
)
def test_nobody_unproven_takes_money_or_claims_much(
    security: str, status: str, payout: str | None, token: str, suspended: bool, listed: bool
) -> None:
    of = campaign(
        postback_security=security, postback_tokens=("t",), allowed_ips=("203.0.113.0/24" if listed else "10.0.0.0/8",)
    )
    fields = {"token": token}
    amount = parse_payout(payout) if payout else None
    call = PostbackCall("clk_x", "", "", status, amount, None, None)
    owner = account(status="suspended" if suspended else "active")
    reason = judge(of, owner, call, Sender(address(), fields, list(fields.items())), Nonces(), NOON_MS)
    proven = security == "token" and token == "t"
    modest = status in ("approved", "pending") and (amount is None or amount <= 1000)
    taken = listed and (proven or (security == "open" and modest))
    assert (reason in postback.EFFECTIVE) == taken
    assert (reason == postback.ADDRESS_NOT_ALLOWED) == (not listed)
    assert (reason == postback.SUSPENDED_ACCOUNT) == (taken and suspended)
