"""Reading a tracking link's query and the headers: nothing the visitor sends is an error, nothing unprintable stays.

How values are written into destinations is in ../test_macros.py; whole requests are in integration/edge.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.parse import (
    MAX_PARAMETERS,
    MAX_TEXT,
    LinkParameters,
    TrafficSource,
    _kept_parameters,
    _plain_parameters,
    header_text,
    language,
    link_parameters,
    pairs,
    referrer,
)
from shared.money import NANO
from shared.traffic import Flag
from tests.unit.edge.builders import campaign_row

PLAIN_SOURCE = TrafficSource.of(campaign_row())


def read(query: bytes, source: TrafficSource = PLAIN_SOURCE) -> LinkParameters:
    return link_parameters(query, source)


def test_parameters_are_sorted_by_what_they_are() -> None:
    found = read(b"sub1=a&sub20=z&external_id=E1&gclid=G&utm_source=news&color=red&sub21=no")
    assert found.subs == {"sub1": "a", "sub20": "z"}
    assert found.external_id == "E1"
    assert found.platform_ids == {"gclid": "G"}
    assert found.others == {"utm_source": "news", "color": "red", "sub21": "no"}
    assert found.flags == 0


def test_a_link_without_query_says_nothing() -> None:
    assert read(b"") == LinkParameters({}, {}, "", {}, {}, None, 0)


@pytest.mark.parametrize("query", [b"sub1=first&sub1=second", b"sub1=first&sub1=", b"sub1=%66irst&sub1=x"])
def test_the_first_of_a_repeated_name_wins(query: bytes) -> None:
    assert read(query).subs == {"sub1": "first"}


def test_a_semicolon_is_data() -> None:
    assert read(b"sub1=a;sub2=b").subs == {"sub1": "a;sub2=b"}


def test_a_plus_is_a_blank_and_an_escaped_one_a_plus() -> None:
    assert read(b"sub1=a+b%2Bc").subs == {"sub1": "a b+c"}


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"%zz", "%zz"),
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%ff", "%FF"),
        (b"%c0%af", "%C0%AF"),
        (b"\xff", "%FF"),
        (b"%00", "%00"),
        (b"%0d%0aX:%20y", "%0D%0AX: y"),
        (b"%C2%85", "%C2%85"),
        (b"%ed%a0%80", "%ED%A0%80"),
        (b"%C3%BC", "ü"),
        (b"\xc3\xbc", "ü"),
    ],
)
def test_what_is_no_text_stays_as_its_escapes(raw: bytes, kept: str) -> None:
    assert read(b"sub1=" + raw).subs == {"sub1": kept}


def test_only_the_first_hundred_parameters_count_and_the_rest_is_flagged() -> None:
    names = [f"p{number}" for number in range(MAX_PARAMETERS + 1)]
    exact = read("&".join(f"{name}=1" for name in names[:-1]).encode())
    over = read("&".join(f"{name}=1" for name in names).encode())
    assert list(exact.given) == list(over.given) == names[:-1]
    assert exact.flags == 0
    assert over.flags == Flag.TRUNCATED_PARAMETERS


@pytest.mark.parametrize("letter", ["a", "ü", "€", "\U0001f600"])
def test_a_value_keeps_one_kilobyte_and_is_flagged_beyond(letter: str) -> None:
    fits = letter * (MAX_TEXT // len(letter.encode()))
    exact = read(f"sub1={fits}".encode())
    over = read(f"sub1={fits}{letter}".encode())
    assert exact.subs["sub1"] == over.subs["sub1"] == fits
    assert exact.flags == 0
    assert over.flags == Flag.TRUNCATED_PARAMETERS


def test_the_traffic_sources_own_names_fill_what_the_link_leaves_open() -> None:
    source = TrafficSource.of(campaign_row(sub_params={"sub1": "zone", "sub2": "site"}, click_id_param="visitor"))
    found = read(b"zone=Z&site=S&sub2=mine&visitor=V", source)
    assert found.subs == {"sub1": "Z", "sub2": "mine"}
    assert found.external_id == "V"
    assert read(b"visitor=V&external_id=E", source).external_id == "E"


def test_a_platforms_click_id_can_be_the_external_id_too() -> None:
    found = read(b"gclid=G", TrafficSource.of(campaign_row(click_id_param="gclid")))
    assert (found.external_id, found.platform_ids) == ("G", {"gclid": "G"})


@pytest.mark.parametrize(
    ("query", "cost"),
    [
        (b"price=0.25", NANO // 4),
        (b"price=0", 0),
        (b"price=5", 5 * NANO),
        (b"price=5.000001", None),
        (b"price=-1", None),
        (b"price=1e3", None),
        (b"price=1,5", None),
        (b"price=", None),
        (b"price=%D9%A1", None),
        (b"cost=1", None),
    ],
)
def test_a_cost_counts_only_as_the_source_names_it_and_up_to_its_limit(query: bytes, cost: int | None) -> None:
    source = TrafficSource.of(campaign_row(cost_param="price", max_click_cost="5"))
    found = read(query, source)
    assert found.cost == cost
    assert found.flags == (0 if cost is not None else Flag.COST_IGNORED)


def test_cost_is_ignored_and_flagged_when_the_source_names_none() -> None:
    found = read(b"cost=1")
    assert (found.cost, found.flags) == (None, Flag.COST_IGNORED)


def test_a_link_without_cost_is_not_flagged() -> None:
    assert read(b"sub1=1", TrafficSource.of(campaign_row(cost_param="cost"))).flags == 0


@given(query=st.binary(max_size=300))
def test_no_bytes_are_an_error_and_everything_kept_is_printable(query: bytes) -> None:
    found = read(query)
    for name, value in found.given.items():
        for text in (name, value):
            assert len(text.encode()) <= MAX_TEXT
            assert not any(ord(character) < 0x20 or 0x7F <= ord(character) <= 0x9F for character in text)


@given(query=st.text(alphabet="ab=&;x1.-_~!", min_size=1, max_size=60))
def test_the_short_way_reads_as_the_long_one(query: str) -> None:
    assert _plain_parameters(query.encode()) == _kept_parameters(query.encode())


def test_a_caller_may_keep_control_characters_to_refuse_them_itself() -> None:
    assert list(pairs(b"a=%00", keep_controls=True)) == [("a", "\x00")]
    assert list(pairs(b"a=%00")) == [("a", "%00")]


def test_header_text_is_printable_and_at_most_a_kilobyte() -> None:
    assert header_text(b"A\x1b[31m\xff") == "A%1B[31m%FF"
    assert len(header_text(b"x" * 8000)) == MAX_TEXT


@pytest.mark.parametrize(
    ("raw", "page", "domain"),
    [
        (b"https://News.example:8443/a/b?user=jo#x", "https://News.example:8443/a/b", "news.example"),
        (b"https://jo:word@news.example/a", "https://news.example/a", "news.example"),
        (b"https://news.example", "https://news.example", "news.example"),
        (b"http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x", "[2001:db8::1]"),
        (b"android-app://com.example/", "android-app://com.example/", ""),
        (b"nonsense", "nonsense", ""),
    ],
)
def test_the_referrer_is_kept_without_query_and_credentials(raw: bytes, page: str, domain: str) -> None:
    assert referrer(raw) == (page, domain)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de-AT,en;q=0.8", "de"),
        ("EN", "en"),
        (" fr;q=1", "fr"),
        ("*", ""),
        ("", ""),
        ("english", ""),
        ("zh-Hans-CN", "zh"),
    ],
)
def test_the_language_is_the_first_primary_tag(header: str, expected: str) -> None:
    assert language(header) == expected
