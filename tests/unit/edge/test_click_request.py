"""Covers edge.click_request: which headers of a request count, repeated ones too. How addresses and header texts
themselves are read: ../test_client_ip.py and test_parse.py."""

from ipaddress import ip_network

import pytest

from edge.click_request import ClickRequest, RequestReader
from edge.client_ip import TrustedProxies

PROXY, STRANGER, VISITOR = "127.0.0.1", "198.51.100.7", "203.0.113.9"


def read(*pairs: tuple[str, str], peer: str = PROXY, reader: RequestReader | None = None) -> ClickRequest:
    raw = [(name.encode(), value.encode()) for name, value in pairs]
    reader = reader or RequestReader(TrustedProxies([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")]))
    return reader.read(peer, "http", dict(raw), raw)


def test_the_headers_that_matter_are_read() -> None:
    found = read(
        ("user-agent", "Agent/1\x1b"),
        ("accept-language", "de-AT,en;q=0.8"),
        ("referer", "https://news.example/page?private=1"),
        ("accept", "*/*"),
        peer=STRANGER,
    )
    assert (found.user_agent, found.raw_user_agent) == ("Agent/1%1B", b"Agent/1\x1b")
    assert (found.language, found.raw_accept_language) == ("de", b"de-AT,en;q=0.8")
    assert (found.referrer, found.referrer_domain) == ("https://news.example/page", "news.example")
    assert (found.address.text, found.scheme, found.prefetch) == (STRANGER, "http", False)


def test_a_request_without_headers_is_read_too() -> None:
    found = read(peer="")
    assert (found.user_agent, found.language, found.referrer, found.referrer_domain) == ("", "", "", "")
    assert found.address.text == "0.0.0.0"


def test_what_comes_again_is_read_alike() -> None:
    reader = RequestReader(TrustedProxies([]))
    pairs = (("user-agent", "Agent/1"), ("accept-language", "fr"), ("referer", "https://news.example/"))
    assert read(*pairs, reader=reader) == read(*pairs, reader=reader) == read(*pairs)


@pytest.mark.parametrize(
    ("forwarded", "visitor"),
    [
        pytest.param([VISITOR], VISITOR, id="one header"),
        pytest.param([f"{STRANGER}, {VISITOR}"], VISITOR, id="one header with a chain"),
        pytest.param([VISITOR, "10.0.0.9"], VISITOR, id="two headers are one chain"),
        pytest.param(["10.0.0.9", VISITOR], VISITOR, id="the last header is the nearest"),
        pytest.param([VISITOR, "nonsense"], PROXY, id="garbage in the last"),
        pytest.param([""], PROXY, id="an empty header"),
        pytest.param(["10.0.0.9"], "10.0.0.9", id="a proxy alone"),
    ],
)
def test_every_forwarding_header_counts(forwarded: list[str], visitor: str) -> None:
    pairs = [("host", "go.example"), *(("x-forwarded-for", value) for value in forwarded)]
    assert read(*pairs).address.text == visitor
    assert read(*pairs, peer=STRANGER).address.text == STRANGER


def test_another_repeated_header_hides_no_address() -> None:
    pairs = (("accept", "a"), ("x-forwarded-for", VISITOR), ("accept", "b"))
    assert read(*pairs).address.text == VISITOR


def test_the_scheme_is_what_the_nearest_proxy_says() -> None:
    assert read(("x-forwarded-proto", "https")).scheme == "https"
    assert read(("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")).scheme == "http"
    assert read(("x-forwarded-proto", "https"), peer=STRANGER).scheme == "http"


@pytest.mark.parametrize("name", ["sec-purpose", "purpose", "x-moz", "x-purpose"])
def test_a_prefetch_is_told(name: str) -> None:
    assert read((name, "prefetch")).prefetch
    assert not read((name, "document")).prefetch
