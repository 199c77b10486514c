"""Covers edge.client_ip: reading addresses, the visitor behind trusted proxies, stored and keyed forms. That the app
hands over the right headers is left to the edge's contract tests."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.client_ip import (
    UNKNOWN_ADDRESS,
    ClientAddress,
    IpStorage,
    TrustedProxies,
    key_form,
    parse_address,
    stored_ip,
)

PROXY = "127.0.0.1"
VISITOR = "203.0.113.9"


@pytest.fixture
def proxies() -> TrustedProxies:
    networks = ("127.0.0.0/8", "::1/128", "10.1.0.0/16", "2001:db8:ffff::/48", "::ffff:192.0.2.0/120")
    return TrustedProxies([ip_network(network) for network in networks])


def parsed(text: str) -> ClientAddress:
    address = parse_address(text)
    assert address is not None, text
    return address


@pytest.mark.parametrize(
    ("text", "canonical", "version"),
    [
        ("203.0.113.9", "203.0.113.9", 4),
        (" 203.0.113.9\t", "203.0.113.9", 4),
        ("203.0.113.9:54321", "203.0.113.9", 4),
        ("2001:DB8:0:0::1", "2001:db8::1", 6),
        ("[2001:db8::1]", "2001:db8::1", 6),
        ("[2001:db8::1]:443", "2001:db8::1", 6),
        ("fe80::1%eth0", "fe80::1", 6),
        ("[fe80::1%25eth0]:80", "fe80::1", 6),
        ("::ffff:203.0.113.9", "203.0.113.9", 4),
        ("::ffff:cb00:7109", "203.0.113.9", 4),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9", 4),
        ("10.0.0.5", "10.0.0.5", 4),
    ],
)
def test_address_is_read_in_every_form_proxies_write(text: str, canonical: str, version: int) -> None:
    address = parsed(text)
    assert (address.text, address.version) == (canonical, version)


@pytest.mark.parametrize(
    "text",
    [
        "", "unknown", "_hidden", "203.0.113", "203.0.113.256", "203.0.113.9:", "203.0.113.9:http", "203.0.113.9:65536",
        "203.0.113.9:-1", "0203.0.113.9.1", "[203.0.113.9]", "[2001:db8::1", "[2001:db8::1]x", "[2001:db8::1]:",
        "2001:db8:::1", "fe80::1%", "localhost", "203.0.113.9\r\nX: y", "203.0.113.9\x00", "²03.0.113.9", "é", "1" * 500,
    ],
)  # fmt: skip
def test_anything_else_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text(max_size=60))
def test_no_text_makes_reading_fail(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(address.text) == address


@given(
    st.from_regex(r"0{0,2}[0-9]{1,3}(\.0{0,2}[0-9]{1,3}){3}", fullmatch=True) | st.text("0123456789. x", max_size=15)
)
def test_an_ipv4_address_is_read_in_one_spelling_only(text: str) -> None:
    address = parse_address(text)
    assert address is None or address.text == str(IPv4Address(address.packed)) == text.strip(" ")


@given(st.ip_addresses())
def test_every_address_reads_back_as_its_number(number: object) -> None:
    address = parsed(str(number))
    assert parsed(address.text) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        pytest.param(VISITOR, [], VISITOR, id="no proxy"),
        pytest.param(VISITOR, ["198.51.100.1"], VISITOR, id="spoofed by a stranger"),
        pytest.param(PROXY, [], PROXY, id="proxy itself"),
        pytest.param(PROXY, [VISITOR], VISITOR, id="one proxy"),
        pytest.param(PROXY, [f"198.51.100.1, {VISITOR}"], VISITOR, id="visitor wrote the left part"),
        pytest.param(PROXY, [f"<script>, {VISITOR}"], VISITOR, id="visitor wrote garbage"),
        pytest.param(PROXY, [f"{VISITOR}, 10.1.2.3, 10.1.9.9"], VISITOR, id="chain of trusted proxies"),
        pytest.param(PROXY, [f"{VISITOR}, 10.1.2.3", "10.1.9.9"], VISITOR, id="two headers are one chain"),
        pytest.param(PROXY, ["10.1.9.9", f"{VISITOR}, 10.1.2.3"], VISITOR, id="headers keep their order"),
        pytest.param(PROXY, [f"{VISITOR}:8080"], VISITOR, id="port"),
        pytest.param(PROXY, ["[2001:db8::7]:8080"], "2001:db8::7", id="IPv6 with port"),
        pytest.param(PROXY, ["fe80::1%eth0"], "fe80::1", id="zone"),
        pytest.param(PROXY, [f"::ffff:{VISITOR}"], VISITOR, id="mapped visitor"),
        pytest.param(f"::ffff:{PROXY}", [VISITOR], VISITOR, id="mapped proxy"),
        pytest.param("192.0.2.8", [VISITOR], VISITOR, id="proxy listed in mapped form"),
        pytest.param("::1", ["2001:db8::7"], "2001:db8::7", id="IPv6 proxy"),
        pytest.param("2001:db8:ffff::2", [VISITOR], VISITOR, id="IPv6 proxy network"),
        pytest.param(PROXY, ["192.168.1.20"], "192.168.1.20", id="private visitor of an intranet"),
        pytest.param(PROXY, [f"{VISITOR}, 192.168.1.20"], "192.168.1.20", id="private and not trusted ends the walk"),
        pytest.param(PROXY, ["10.1.0.1, 10.1.0.2"], "10.1.0.1", id="all trusted: the leftmost"),
        pytest.param(PROXY, ["unknown"], PROXY, id="garbage: the peer"),
        pytest.param(PROXY, [f"{VISITOR}, unknown"], PROXY, id="garbage in the part that must be read"),
        pytest.param(PROXY, [f"{VISITOR}, garbage, 10.1.0.1"], PROXY, id="garbage behind a trusted proxy"),
        pytest.param(PROXY, ["", " , ,"], PROXY, id="empty elements only"),
        pytest.param(PROXY, [f",{VISITOR},, "], VISITOR, id="empty elements around"),
        pytest.param("", [VISITOR], UNKNOWN_ADDRESS.text, id="peer without address"),
    ],
)
def test_visitor(proxies: TrustedProxies, peer: str, forwarded: list[str], expected: str) -> None:
    assert proxies.visitor(peer, forwarded) == parsed(expected)
    assert proxies.visitor(peer, forwarded) == parsed(expected), "remembered answers are the same"


def test_long_chain_of_trusted_addresses_is_walked_to_its_end(proxies: TrustedProxies) -> None:
    assert proxies.visitor(PROXY, [", ".join([VISITOR, *["10.1.0.1"] * 700])]) == parsed(VISITOR)


def test_without_trusted_proxies_the_peer_is_the_visitor() -> None:
    assert TrustedProxies([]).visitor(PROXY, [VISITOR]) == parsed(PROXY)


@pytest.mark.parametrize(
    ("peer", "connection", "claimed", "expected"),
    [
        pytest.param(PROXY, "http", ["https"], "https", id="trusted proxy ended TLS"),
        pytest.param(PROXY, "http", ["HTTPS "], "https", id="case and blanks"),
        pytest.param(PROXY, "http", [], "http", id="no header"),
        pytest.param(PROXY, "http", ["https, http"], "http", id="the nearest proxy wrote the last"),
        pytest.param(PROXY, "http", ["http", "https"], "https", id="last header"),
        pytest.param(PROXY, "http", ["gopher"], "http", id="neither of the two"),
        pytest.param(PROXY, "https", [""], "https", id="empty"),
        pytest.param(VISITOR, "http", ["https"], "http", id="claimed by a stranger"),
    ],
)
def test_scheme(proxies: TrustedProxies, peer: str, connection: str, claimed: list[str], expected: str) -> None:
    assert proxies.scheme(peer, connection, claimed) == expected


@pytest.mark.parametrize(
    ("policy", "address", "expected"),
    [
        ("truncated", "203.0.113.77", "203.0.113.0"),
        ("truncated", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("truncated", "::ffff:203.0.113.77", "203.0.113.0"),
        ("full", "203.0.113.77", "203.0.113.77"),
        ("full", "2001:DB8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("none", "203.0.113.77", ""),
        ("none", "2001:db8::1", ""),
    ],
)
def test_stored_form_follows_the_policy(policy: IpStorage, address: str, expected: str) -> None:
    assert stored_ip(parsed(address), policy) == expected


def test_key_form_keeps_an_ipv4_address_and_the_64_of_an_ipv6_one() -> None:
    assert key_form(parsed("203.0.113.9")) == bytes([203, 0, 113, 9])
    assert key_form(parsed("2001:db8:1:2:3:4:5:6")) == bytes.fromhex("20010db800010002")
    assert key_form(parsed("2001:db8:1:2::1")) == key_form(parsed("2001:db8:1:2:ffff::"))
    assert key_form(parsed("2001:db8:1:3::1")) != key_form(parsed("2001:db8:1:2::1"))


@given(
    networks=st.lists(st.tuples(st.integers(0, 1 << 10), st.integers(22, 32)), max_size=6),
    version=st.sampled_from([4, 6]),
    probes=st.lists(st.integers(0, 1 << 11), max_size=10),
)
def test_a_peer_is_trusted_when_any_network_has_it(
    networks: list[tuple[int, int]], version: int, probes: list[int]
) -> None:
    """Networks close together, so that they adjoin, overlap and stand inside each other."""
    base, rest = (0xC0000000, 0) if version == 4 else (0x20010DB8 << 96, 96)
    made = [ip_network((int(ip_address(base)) + number, length + rest), strict=False) for number, length in networks]
    proxies = TrustedProxies(made)
    borders = [int(edge) - base + step for net in made for edge in (net[0], net[-1]) for step in (-1, 0, 1)]
    for probe in [*probes, *borders]:
        peer = ip_address(base + probe)
        assert proxies.is_trusted(str(peer)) == any(peer in network for network in made)
