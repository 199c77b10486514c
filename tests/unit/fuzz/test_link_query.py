"""The link's query against a second, slow reading of it: names and values, what counts for what, what is kept.

Examples of each rule are in ../edge/test_parse.py.
"""

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from edge.parse import MAX_PARAMETERS, MAX_TEXT, PLATFORM_IDS, SUBS, TrafficSource, link_parameters, pairs
from shared.money import NANO
from shared.traffic import Flag
from tests.unit.edge.builders import campaign_row
from tests.unit.fuzz.effort import searched
from tests.unit.fuzz.hostile import queries

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_DASHES = ("Zl", "Zp")

sources = st.builds(
    lambda subs, cost, visitor, limit: TrafficSource.of(
        campaign_row(sub_params=subs, cost_param=cost, click_id_param=visitor, max_click_cost=limit)
    ),
    st.dictionaries(
        st.sampled_from(("sub1", "sub2", "sub20", "sub99")), st.sampled_from(("zone", "a", "gclid", "sub2"))
    ),
    st.sampled_from((None, "cost", "price", "sub1")),
    st.sampled_from((None, "visitor", "gclid")),
    st.sampled_from(("0", "5", "100")),
)


def readable(raw: bytes) -> str:
    """As the contract has it: percent-decoded once, what is no text or no character to be shown kept as its escapes."""
    decoded = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw.replace(b"+", b" "))
    shown = ""
    for character in decoded.decode("utf-8", "surrogateescape"):
        if 0xDC80 <= ord(character) <= 0xDCFF:
            shown += f"%{ord(character) - 0xDC00:02X}"
        elif unicodedata.category(character) in ("Cc", *_DASHES):
            shown += "".join(f"%{byte:02X}" for byte in character.encode())
        else:
            shown += character
    return shown


def shortened(text: str) -> str:
    while len(text.encode()) > MAX_TEXT:
        text = text[:-1]
    return text


def read_slowly(query: bytes) -> tuple[list[tuple[str, str]], bool]:
    """All parameters in order, and whether some are too many or too long to be kept whole."""
    found = []
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            found.append((readable(name), readable(value)))
    kept = [(shortened(name), shortened(value)) for name, value in found[:MAX_PARAMETERS]]
    return kept, kept != found


@searched
@given(queries)
@example(b"%25%32%35=%2525")
def test_names_and_values_are_decoded_once(query: bytes) -> None:
    found = [
        (readable(name), readable(value)) for name, _, value in (p.partition(b"=") for p in query.split(b"&") if p)
    ]
    assert list(pairs(query)) == found


@searched
@given(queries)
def test_a_caller_that_asks_for_controls_gets_the_same_but_for_these(query: bytes) -> None:
    controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
    with_controls = list(pairs(query, keep_controls=True))
    shown = [
        tuple(controls.sub(lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), text) for text in pair)
        for pair in with_controls
    ]
    assert shown == list(pairs(query))


@searched
@given(queries, sources)
@example(b"=" + b"x" * (MAX_TEXT + 1), TrafficSource.of(campaign_row()))
def test_each_parameter_counts_for_what_it_is_and_for_nothing_else(query: bytes, source: TrafficSource) -> None:
    found = link_parameters(query, source)
    kept, shortened_or_dropped = read_slowly(query)
    first: dict[str, str] = {}
    for name, value in kept:
        first.setdefault(name, value)
    assert dict(found.given) == first
    assert list(found.given) == list(first)
    assert bool(found.flags & Flag.TRUNCATED_PARAMETERS) == shortened_or_dropped

    subs = {name: value for name, value in first.items() if name in SUBS}
    for theirs, ours in source.subs.items():
        if first.get(theirs) and not subs.get(ours):
            subs[ours] = first[theirs]
    assert dict(found.subs) == subs
    assert dict(found.platform_ids) == {name: value for name, value in first.items() if name in PLATFORM_IDS}
    assert dict(found.others) == {
        name: value for name, value in first.items() if name not in SUBS | PLATFORM_IDS | {"external_id"}
    }
    assert found.external_id == (first.get("external_id") or first.get(source.click_id_param or "external_id", ""))


@searched
@given(queries, sources, st.sampled_from(("5", "5.000001", "0.1", "000000", "-1", "1e1", "٥", "1.", ".5", "9" * 7, "")))
def test_a_cost_is_a_plain_amount_up_to_the_limit_or_ignored(query: bytes, source: TrafficSource, cost: str) -> None:
    name = source.cost_param or "cost"
    found = link_parameters(f"{name}={cost}&".encode() + query, source)
    plain = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,6}))?", cost)
    amount = int(plain[1]) * NANO + int((plain[2] or "").ljust(9, "0")) if plain else None
    counts = source.cost_param is not None and amount is not None and amount <= source.max_cost
    assert found.cost == (amount if counts else None)
    assert bool(found.flags & Flag.COST_IGNORED) == (not counts)


@searched
@given(queries, queries, sources)
def test_what_a_stranger_appends_takes_nothing_away(query: bytes, appended: bytes, source: TrafficSource) -> None:
    before = link_parameters(query, source)
    after = link_parameters(query + b"&" + appended, source)
    assert list(after.given.items())[: len(before.given)] == list(before.given.items())
    assert {name: after.platform_ids.get(name) for name in before.platform_ids} == dict(before.platform_ids)
    if source.cost_param in before.given:
        assert after.cost == before.cost
