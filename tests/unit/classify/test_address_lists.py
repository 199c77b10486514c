"""Covers edge.classify.address_lists: reading lists and the interval table. Files, reloading and the precedence of
categories: test_network.py."""

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.classify.address_lists import Interval, IntervalTable, parse_list


def interval(text: str) -> Interval:
    network = IPv6Network(text) if ":" in text else IPv4Network(text)
    return int(network.network_address), int(network.broadcast_address)


def test_list_takes_networks_addresses_comments_and_blank_lines() -> None:
    parsed = parse_list(
        "# hosting\n\n192.0.2.0/24\n  198.51.100.7  # one machine\r\n2001:db8::/32\n2001:db8:1::5\n\t\n"
    )
    assert parsed.v4 == (interval("192.0.2.0/24"), interval("198.51.100.7/32"))
    assert parsed.v6 == (interval("2001:db8::/32"), interval("2001:db8:1::5/128"))
    assert (parsed.entries, parsed.bad_lines, parsed.examples) == (4, 0, ())


def test_bits_behind_the_prefix_are_ignored() -> None:
    assert parse_list("192.0.2.77/24").v4 == (interval("192.0.2.0/24"),)


def test_mapped_range_counts_as_ipv4() -> None:
    parsed = parse_list("::ffff:192.0.2.0/120\n::ffff:198.51.100.7")
    assert parsed.v4 == (interval("192.0.2.0/24"), interval("198.51.100.7/32"))
    assert parsed.v6 == ()


@pytest.mark.parametrize(
    "line",
    [
        "example.com",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/",
        "192.0.2/24",
        "192.0.2.0/24/8",
        "192.0.2.0 198.51.100.0",
        "2001:db8::/129",
        "2001:db8:::/32",
        "192.0.2.0/²",
        "1.2.3.4\x00",
    ],
)
def test_bad_line_is_reported_and_the_rest_is_read(line: str) -> None:
    parsed = parse_list(f"192.0.2.0/24\n{line}\n198.51.100.0/24\n")
    assert parsed.v4 == (interval("192.0.2.0/24"), interval("198.51.100.0/24"))
    assert parsed.bad_lines == 1
    assert parsed.examples[0].startswith("line 2: ")


def test_only_the_first_bad_lines_are_quoted_but_all_are_counted() -> None:
    parsed = parse_list("nonsense\n" * 1000)
    assert parsed.bad_lines == 1000
    assert len(parsed.examples) == 5


def test_table_keeps_all_categories_of_overlapping_ranges() -> None:
    table = IntervalTable({1: [interval("10.0.0.0/8")], 2: [interval("10.1.0.0/16"), interval("10.1.2.0/24")]}, 32)

    def at(text: str) -> int:
        return table.categories(int(ip_address(text)))

    assert [at("9.255.255.255"), at("10.0.0.0"), at("10.1.0.0"), at("10.1.2.3"), at("10.1.255.255")] == [0, 1, 3, 3, 3]
    assert [at("10.2.0.0"), at("10.255.255.255"), at("11.0.0.0")] == [1, 1, 0]


def test_adjoining_ranges_of_one_category_become_one_interval() -> None:
    quarters = [interval(f"192.0.2.{start}/26") for start in (0, 64, 128, 192)]
    assert len(IntervalTable({1: quarters}, 32)) == len(IntervalTable({1: [interval("192.0.2.0/24")]}, 32)) == 3


@pytest.mark.parametrize("bits", [32, 128])
def test_table_covers_the_first_and_the_last_address_of_its_family(bits: int) -> None:
    last = (1 << bits) - 1
    whole = IntervalTable({4: [(0, last)]}, bits)
    assert (whole.categories(0), whole.categories(last)) == (4, 4)
    empty = IntervalTable({}, bits)
    assert (empty.categories(0), empty.categories(last)) == (0, 0)


def ranges(bits: int) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    """(category bit, address, prefix length); addresses are drawn close together so that ranges overlap."""
    close = st.integers(0, 1 << 12).map(lambda low: (0xC0A8 << (bits - 16)) + low)
    anywhere = st.integers(0, (1 << bits) - 1)
    lengths = st.one_of(st.integers(bits - 12, bits), st.integers(0, bits))
    return st.lists(st.tuples(st.sampled_from([1, 2, 4, 32]), close | anywhere, lengths), max_size=25)


def check_against_linear_search(bits: int, drawn: list[tuple[int, int, int]], probes: list[int]) -> None:
    lists: dict[int, list[Interval]] = {}
    for category, number, length in drawn:
        host = (1 << (bits - length)) - 1
        lists.setdefault(category, []).append((number & ~host, number | host))
    table = IntervalTable(lists, bits)
    borders = [edge + step for each in lists.values() for pair in each for edge in pair for step in (-1, 0, 1)]
    for probe in [*probes, *borders]:
        if not 0 <= probe < 1 << bits:
            continue
        naive = 0
        for category, intervals in lists.items():
            if any(first <= probe <= last for first, last in intervals):
                naive |= category
        assert table.categories(probe) == naive


@settings(deadline=None)
@given(ranges(32), st.lists(st.integers(0, (1 << 32) - 1), max_size=10))
def test_ipv4_table_equals_a_linear_search(drawn: list[tuple[int, int, int]], probes: list[int]) -> None:
    check_against_linear_search(32, drawn, probes)


@settings(deadline=None)
@given(ranges(128), st.lists(st.integers(0, (1 << 128) - 1), max_size=10))
def test_ipv6_table_equals_a_linear_search(drawn: list[tuple[int, int, int]], probes: list[int]) -> None:
    check_against_linear_search(128, drawn, probes)
