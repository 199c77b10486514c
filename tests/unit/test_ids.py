"""Covers click ids, conversion ids, digests and the key ring as pure values. Their use in links: tests/integration/edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import ids
from shared.ids import ClickIds, FutureKey, InvalidClickId, KeyRing, RingKey

RING = KeyRing((RingKey(2, b"b" * 32, True), RingKey(1, b"a" * 32, True)))


def test_an_id_proves_its_time_and_campaign() -> None:
    made = ClickIds(RING)
    proven = made.prove(made.issue(4_000_000_000, 1_700_000_000_123))
    assert (proven.campaign_id, proven.time_ms) == (4_000_000_000, 1_700_000_000_123)
    assert ids.click_id_time(proven.raw) == proven.time_ms
    assert made.prove(proven.text) == proven


@given(st.integers(0, 26), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    made = ClickIds(RING)
    raw = bytearray(ids.click_id_bytes(made.issue(7, 1_700_000_000_000)))
    raw[position] ^= change
    with pytest.raises(InvalidClickId):
        made.prove(ids.click_id_text(bytes(raw)))


@given(st.text(max_size=60))
def test_no_other_text_is_an_id(text: str) -> None:
    with pytest.raises(InvalidClickId):
        ClickIds(RING).prove(text)


def test_ids_stay_unique_when_the_clock_stands_still_and_the_sequence_is_used_up() -> None:
    made = ClickIds(RING)
    made._nonce |= 0xFFFFF0
    issued = {made.issue(1, 5) for _ in range(1_000)}
    assert len(issued) == 1_000


def test_an_id_of_an_older_key_still_proves() -> None:
    old = ClickIds(KeyRing(RING.keys[1:]))
    assert ClickIds(RING).prove(old.issue(3, 9)).campaign_id == 3


def test_a_verify_only_key_does_not_sign() -> None:
    ring = KeyRing((RingKey(3, b"c" * 32, False), *RING.keys))
    assert ids.click_id_bytes(ClickIds(ring).issue(1, 1))[0] == 2


def test_only_the_key_one_above_the_newest_is_worth_a_retry() -> None:
    assert issubclass(FutureKey, InvalidClickId)
    next_ring = KeyRing((RingKey(3, b"c" * 32, True), *RING.keys))
    later_ring = KeyRing((RingKey(4, b"d" * 32, True), *next_ring.keys))
    with pytest.raises(FutureKey):
        ClickIds(RING).prove(ClickIds(next_ring).issue(1, 1))
    with pytest.raises(InvalidClickId) as caught:
        ClickIds(RING).prove(ClickIds(later_ring).issue(1, 1))
    assert not isinstance(caught.value, FutureKey)


def test_the_ring_reads_back_as_written() -> None:
    ring = KeyRing((RingKey(2, b"b" * 32, False), RingKey(1, b"a" * 32, True)))
    assert KeyRing.from_text(ring.to_text()) == ring


@pytest.mark.parametrize(
    "text",
    ["", "1", "1:abc", f"0:{'a' * 64}", f"256:{'a' * 64}", f"1:{'a' * 64},2:{'b' * 64}", f"1:{'a' * 64}:verify"],
)
def test_a_bad_ring_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        KeyRing.from_text(text)


def test_each_purpose_has_its_own_subkey() -> None:
    assert RING.subkeys("click id")[1] != RING.subkeys("login token")[1]


def test_the_same_postback_is_the_same_conversion() -> None:
    click = ids.click_id_bytes(ClickIds(RING).issue(1, 1))
    assert ids.conversion_id(1, click, "", "a") == ids.conversion_id(1, click, "", "a")
    others = {
        ids.conversion_id(2, click, "", "a"),
        ids.conversion_id(1, click, "a", ""),
        ids.conversion_id(1, click, "", "A"),
        ids.conversion_id(1, click, "", "a", repeat="x"),
    }
    assert len(others | {ids.conversion_id(1, click, "", "a")}) == 5


def test_parts_of_a_digest_cannot_run_into_each_other() -> None:
    assert ids.digest_key(b"s" * 32, b"ab", b"c") != ids.digest_key(b"s" * 32, b"a", b"bc")


def test_a_derived_salt_is_the_same_on_every_edge() -> None:
    assert ids.next_salt(b"s" * 32, "2026-01-02") == ids.next_salt(b"s" * 32, "2026-01-02")
    assert ids.next_salt(b"s" * 32, "2026-01-02") != ids.next_salt(b"s" * 32, "2026-01-03")
