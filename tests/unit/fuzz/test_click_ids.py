"""Click ids as strangers may bend them: nothing but an id as it was made proves anything.

Examples and the other identifiers are in ../test_ids.py.
"""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import ClickId, ClickIds, FutureKey, InvalidClickId, KeyRing, RingKey, click_id_bytes, click_id_text
from tests.unit.fuzz.effort import searched

ALPHABET = string.ascii_letters + string.digits + "-_"
BESIDE = "+/=. \n\x00é٣\ud800"
"""Characters a lenient base64 reader would pass over or take for others."""


def secret(number: int) -> bytes:
    return bytes((number,)) * 32


def ring(*numbers: int, signing: int | None = None) -> KeyRing:
    """Keys of these numbers, newest first; only `signing` signs, or all do."""
    return KeyRing(tuple(RingKey(n, secret(n), signing in (None, n)) for n in sorted(set(numbers), reverse=True)))


IDS = ClickIds(ring(2, 1))
GIVEN = IDS.issue(0x12345678, 1_790_000_000_123)
RAW = click_id_bytes(GIVEN)

campaigns = st.integers(0, 2**32 - 1)
moments = st.integers(0, 2**48 - 1)


def refused(text: str, ids: ClickIds = IDS) -> bool:
    try:
        ids.prove(text)
    except InvalidClickId:
        return True
    return False


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(len(RAW) * 8):
        changed = bytearray(RAW)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(click_id_text(bytes(changed))), bit


def test_every_changed_character_is_refused() -> None:
    for place, old in enumerate(GIVEN):
        for new in ALPHABET + BESIDE:
            assert new == old or refused(GIVEN[:place] + new + GIVEN[place + 1 :]), (place, new)


def test_every_left_out_doubled_or_added_character_is_refused() -> None:
    for place in range(len(GIVEN) + 1):
        for shorter in (GIVEN[:place], GIVEN[:place] + GIVEN[place + 1 :]):
            assert shorter == GIVEN or refused(shorter)
        for new in "A" + BESIDE:
            assert refused(GIVEN[:place] + new + GIVEN[place:]), (place, new)


@searched
@given(campaigns, moments, st.sampled_from((1, 2, 255)))
def test_an_id_says_what_went_in_and_is_written_in_one_way(campaign: int, moment: int, key: int) -> None:
    ids = ClickIds(ring(1, 2, 255, signing=key))
    text = ids.issue(campaign, moment)
    proven = ids.prove(text)
    assert proven == ClickId(click_id_bytes(text), moment, campaign)
    assert proven.text == text
    assert len(text) == 40
    assert set(text.removeprefix("clk_")) <= set(ALPHABET)
    assert proven.raw[0] == key


@searched
@given(st.lists(st.tuples(campaigns, moments), min_size=2, max_size=30))
def test_no_two_ids_are_the_same_whatever_the_clock_says(clicks: list[tuple[int, int]]) -> None:
    ids = ClickIds(ring(1))
    made = [ids.issue(campaign, moment) for campaign, moment in clicks + clicks]
    assert len(set(made)) == len(made)


@searched
@given(campaigns, moments, campaigns, moments, st.integers(1, 26))
def test_halves_of_two_ids_make_none(campaign: int, moment: int, other: int, another: int, cut: int) -> None:
    first, second = (click_id_bytes(IDS.issue(*of)) for of in ((campaign, moment), (other, another)))
    spliced = first[:cut] + second[cut:]
    assert spliced in (first, second) or refused(click_id_text(spliced))


@searched
@given(campaigns, moments, st.integers(1, 255))
def test_another_installation_proves_nothing_here(campaign: int, moment: int, key: int) -> None:
    theirs = ClickIds(KeyRing((RingKey(key, b"\xee" * 32, True),)))
    text = theirs.issue(campaign, moment)
    assert refused(text, ClickIds(ring(key, 1)))
    assert refused(text)


@searched
@given(st.sets(st.integers(1, 255), min_size=1, max_size=4), st.binary(min_size=27, max_size=27), st.integers(0, 255))
def test_only_the_key_one_above_the_newest_may_come_again(numbers: set[int], raw: bytes, key: int) -> None:
    ids = ClickIds(ring(*numbers))
    with pytest.raises(InvalidClickId) as refusal:
        ids.prove(click_id_text(bytes((key,)) + raw[1:]))
    assert isinstance(refusal.value, FutureKey) == (key == max(numbers) + 1)


@searched
@given(
    st.text(max_size=60)
    | st.text(ALPHABET + BESIDE, min_size=36, max_size=36).map(lambda text: "clk_" + text)
    | st.text(ALPHABET, max_size=80).map(lambda text: "clk_" + text)
)
def test_no_other_text_is_an_id_or_an_error(text: str) -> None:
    assert refused(text)
    try:
        assert click_id_text(click_id_bytes(text)).startswith("clk_")
    except ValueError:
        return


@searched
@given(
    st.text(max_size=20)
    | st.lists(
        st.tuples(
            st.sampled_from(("0", "1", "2", "7", "255", "256", "٣", "-1", "")), st.sampled_from((64, 63)), st.booleans()
        )
    ).map(lambda keys: ",".join(f"{number}:{'a' * length}{':verify' * verify}" for number, length, verify in keys))
)
def test_a_ring_of_keys_is_read_or_refused_and_reads_back(text: str) -> None:
    try:
        read = KeyRing.from_text(text)
    except ValueError:
        return
    assert KeyRing.from_text(read.to_text()) == read
    assert read.signing.signs
    assert [key.number for key in read.keys] == sorted({key.number for key in read.keys}, reverse=True)
    assert all(1 <= key.number <= 255 and len(key.secret) == 32 for key in read.keys)
    made = ClickIds(read)
    assert made.prove(made.issue(1, 1)).campaign_id == 1
