"""What the border reads without a server: addresses behind proxies, days of time zones, amounts, URLs, masks.

The same through HTTP is tests/contract/api.
"""

import ipaddress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.api.client_address import Proxies, stored
from management.api.fields import Unfit, decimal
from management.api.json_body import MAX_DEPTH, read_object
from management.api.periods import Period, figures_period, list_period, midnight
from management.api.read_only import without_read_only
from management.campaigns.schemas import MASK, masked
from management.campaigns.traffic_sources import TRAFFIC_SOURCES
from management.campaigns.urls import destination
from management.clicks.schemas import ip_precision, masked_ip
from management.errors import CATALOGUE, VALIDATION, Refusal

PROXIES = Proxies([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["1.2.3.4, garbage"], "10.0.0.1"),
        ("10.0.0.1", ["garbage, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["1.2.3.4:5678,"], "1.2.3.4"),
        ("::ffff:10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("::1", ["fe80::1%eth0"], "fe80::1"),
    ],
)
def test_the_caller_behind_proxies(peer: str, forwarded: list[str], caller: str) -> None:
    assert str(PROXIES.caller(peer, forwarded)) == caller


def test_a_peer_without_an_address_is_nobody() -> None:
    assert PROXIES.caller("", ["1.2.3.4"]) is None


@pytest.mark.parametrize(
    ("address", "policy", "kept"),
    [
        ("203.0.113.9", "truncated", "203.0.113.0"),
        ("2001:db8:1:2::9", "truncated", "2001:db8:1::"),
        ("203.0.113.9", "full", "203.0.113.9"),
        ("203.0.113.9", "none", ""),
    ],
)
def test_an_address_is_kept_as_the_policy_says(address: str, policy: str, kept: str) -> None:
    assert stored(ipaddress.ip_address(address), policy) == kept


@pytest.mark.parametrize(
    ("zone", "day", "hours", "begins"),
    [
        ("UTC", date(2024, 1, 1), 24, "2024-01-01T00:00:00+00:00"),
        ("Europe/Berlin", date(2024, 3, 31), 23, "2024-03-30T23:00:00+00:00"),
        ("Europe/Berlin", date(2024, 10, 27), 25, "2024-10-26T22:00:00+00:00"),
        ("Asia/Beirut", date(2024, 3, 31), 23, "2024-03-30T22:00:00+00:00"),  # 00:00 does not exist that day
        ("America/Havana", date(2024, 11, 3), 25, "2024-11-03T04:00:00+00:00"),  # 00:00 comes twice
        ("Asia/Kathmandu", date(2024, 1, 1), 24, "2023-12-31T18:15:00+00:00"),
    ],
)
def test_a_day_is_as_long_as_its_zone_says(zone: str, day: date, hours: int, begins: str) -> None:
    period = Period(day, day, zone)
    assert period.start.isoformat() == begins
    assert (period.end - period.start).total_seconds() == hours * 3600


@given(st.dates(), st.dates(), st.sampled_from(["UTC", "Pacific/Kiritimati", "Pacific/Midway", "Asia/Kolkata"]))
def test_no_two_days_overflow(first: date, last: date, zone: str) -> None:
    if first <= last:
        start, end = list_period(first, last, zone)
        assert start is not None
        assert end is not None
        assert start <= end
    else:
        with pytest.raises(Refusal):
            list_period(first, last, zone)


NOW = datetime(2024, 6, 15, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "last", "zone", "expected"),
    [
        (None, None, "UTC", ("2024-05-17", "2024-06-15")),
        (None, None, "Asia/Tokyo", ("2024-05-18", "2024-06-16")),
        (date(2024, 6, 1), None, "UTC", ("2024-06-01", "2024-06-15")),
        (None, date(2024, 1, 30), "UTC", ("2024-01-01", "2024-01-30")),
        (None, date.min, "UTC", ("0001-01-01", "0001-01-01")),
    ],
)
def test_figures_without_dates(first: date | None, last: date | None, zone: str, expected: tuple[str, str]) -> None:
    meta = figures_period(first, last, zone, NOW).meta
    assert (meta["from"], meta["to"], meta["time_zone"]) == (*expected, zone)


def test_figures_from_a_day_that_is_not_here_yet_are_refused() -> None:
    with pytest.raises(Refusal):
        figures_period(date(2024, 6, 16), None, "UTC", NOW)
    assert figures_period(date(2024, 6, 16), None, "Asia/Tokyo", NOW).first == date(2024, 6, 16)


def test_midnight_is_an_instant_of_utc() -> None:
    assert midnight(date(2024, 1, 1), "America/New_York").utcoffset() == UTC.utcoffset(None)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0, "0.000000"), (Decimal("0.50"), "0.500000"), (Decimal("1E+2"), "100.000000"), (10, "10.000000"),
     (Decimal("1.230000000000"), "1.230000"), (Decimal("-0"), "-0.000000"), (Decimal("0E-50"), "0.000000")],
)  # fmt: skip
def test_amounts_keep_what_was_written(value: Any, kept: str) -> None:
    assert str(decimal(Decimal(1000))(value)) == kept


@pytest.mark.parametrize(
    "value", [Decimal("1E+999999"), Decimal("1E-999999"), Decimal("0.0000001"), 1001, -1, True, "1"]
)
def test_amounts_out_of_bounds_are_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        decimal(Decimal(1000))(value)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example", "http://shop.example:8080/a/{clickid}?x={sub1}#{country}", "HTTPS://SHOP.EXAMPLE/",
        "https://xn--shp-rna.example/?q=%20", "http://[2001:db8::1]:8443/x", "http://10.0.0.1/?u={utm_source}",
        "https://sub_domain.shop.example/", "https://shop.example/a@b?c=d@e",
    ],
)  # fmt: skip
def test_a_plain_destination_is_kept_as_written(url: str) -> None:
    assert destination(url) == url


@pytest.mark.parametrize(
    ("kept", "shown", "precision"),
    [
        ("192.168.7.0", "192.168.x.x", "truncated"),
        ("192.168.7.9", "192.168.x.x", "full"),
        ("2001:db8:77::", "2001:db8:x:x:x:x:x:x", "truncated"),
        ("2001:db8::1", "2001:db8:x:x:x:x:x:x", "full"),
        ("::1", "0:0:x:x:x:x:x:x", "full"),
        ("", None, "none"),
    ],
)
def test_addresses_are_masked(kept: str, shown: str | None, precision: str) -> None:
    assert (masked_ip(kept), ip_precision(kept)) == (shown, precision)


def test_a_mask_shows_four_characters() -> None:
    assert masked("a-very-secret-token") == MASK + "oken"


def test_read_only_fields_pass_with_their_current_value_alone() -> None:
    current = {"id": 1, "count": 5, "at": "x", "flag": True}
    names = ("id", "count", "at", "flag")
    assert without_read_only({"id": 1, "name": "n", "propagated": False}, current, names) == {"name": "n"}
    assert without_read_only({"count": 3}, current, names, falling=("count",)) == {}
    for bad in ({"id": 2}, {"id": True}, {"flag": 1}, {"count": 3}, {"at": None}, {"id": Decimal(1)}):
        with pytest.raises(Refusal):
            without_read_only(bad, current, names)
    with pytest.raises(Refusal):
        without_read_only({"count": 6}, current, names, falling=("count",))


def test_nesting_is_counted_outside_of_strings_alone() -> None:
    inside = '{"x":"' + "[" * 100 + '\\"' + "]" * 5 + '"}'
    assert len(read_object(inside.encode())["x"]) == 106
    deepest = b'{"x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert read_object(deepest)
    with pytest.raises(Refusal):
        read_object(deepest.replace(b"[", b"[[", 1).replace(b"]", b"]]", 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    try:
        read = read_object(raw)
    except Refusal as refusal:
        read = {"refused": refusal.kind}
    assert isinstance(read, dict)
    assert read.get("refused", VALIDATION) is VALIDATION


def test_numbers_never_become_floats() -> None:
    content = read_object(b'{"a":0.1,"b":1e2,"c":12345678901234567890}')
    assert content == {"a": Decimal("0.1"), "b": Decimal("1E+2"), "c": 12345678901234567890}
    assert not any(isinstance(value, float) for value in content.values())


def test_the_catalogue_has_each_code_once() -> None:
    codes = [kind.code for kind in CATALOGUE]
    assert len(codes) == len(set(codes))


def test_only_the_generic_source_and_networks_name_a_cost() -> None:
    assert (TRAFFIC_SOURCES[1].click_id_param, TRAFFIC_SOURCES[1].cost_param) == ("external_id", "cost")
    assert TRAFFIC_SOURCES[2].click_id_param == "gclid"
    assert all(source.cost_param is None for number, source in TRAFFIC_SOURCES.items() if 2 <= number < 30)
