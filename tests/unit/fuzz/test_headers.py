"""Headers that strangers write: whose address counts, which host is ours, what is kept of referrer and language.

Examples of each rule are in ../test_client_ip.py, ../edge/test_hosts.py and ../edge/test_parse.py.
"""

import ipaddress
import re

import ada_url
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge.client_ip import ClientAddress, TrustedProxies, parse_address, stored_ip
from edge.hosts import Hosts
from edge.parse import MAX_TEXT, header_text, language, referrer
from tests.unit.fuzz.effort import searched
from tests.unit.fuzz.hostile import raw_values

NETWORKS = ("127.0.0.0/8", "10.1.0.0/16", "::1/128", "2001:db8:ffff::/48", "::ffff:192.0.2.0/120")
PROXIES = TrustedProxies([ipaddress.ip_network(text) for text in NETWORKS])
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_listed(address: Address) -> bool:
    if address in ipaddress.ip_network("192.0.2.0/24"):
        return True
    return any(address in network for network in map(ipaddress.ip_network, NETWORKS))


_v4 = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=4, network="10.1.0.0/16"),
    st.ip_addresses(v=4, network="192.0.2.0/24"),
    st.ip_addresses(v=4, network="10.0.0.0/8"),
)
_v6: st.SearchStrategy[Address] = st.one_of(
    st.ip_addresses(v=6),
    st.ip_addresses(v=6, network="2001:db8:ffff::/48"),
    st.ip_addresses(v=6, network="2001:db8:fffe::/47"),
).filter(lambda address: getattr(address, "ipv4_mapped", None) is None)


@st.composite
def written(draw: st.DrawFn, address: Address) -> str:
    """The address in one of the forms that proxies write."""
    port = draw(st.sampled_from(("", ":0", ":80", ":65535")))
    blank = draw(st.sampled_from(("", " ", "\t", " \t ")))
    if isinstance(address, ipaddress.IPv4Address) and not draw(st.booleans()):
        return f"{blank}{address}{port}{blank}"
    if isinstance(address, ipaddress.IPv4Address):
        text = draw(st.sampled_from((f"::ffff:{address}", f"::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:X}")))
    else:
        text = draw(st.sampled_from((str(address), address.exploded, address.exploded.upper())))
    text += draw(st.sampled_from(("", "%eth0", "%25lo")))
    return f"{blank}[{text}]{port}{blank}" if port or draw(st.booleans()) else f"{blank}{text}{blank}"


GARBAGE = (
    "unknown",
    "1.2.3",
    "999.1.1.1",
    "1.2.3.4:",
    "[1.2.3.4]",
    "::g",
    "[::1",
    "1.2.3.4:65536",
    "1.2.3.4:\u0663",
    "[::1]:65536",
    "[::1]:\u0663",
    "[::1]x",
    "1.2.3.4 5",
    "x" * 99,
)
_hops = st.lists(
    st.one_of(
        (_v4 | _v6).flatmap(lambda address: st.tuples(st.just(address), written(address))),
        st.sampled_from(((None, ""), (None, "  "))),
        st.tuples(st.just("garbage"), st.sampled_from(GARBAGE)),
    ),
    max_size=6,
)  # fmt: skip


@searched
@given(st.sampled_from(("127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1", "203.0.113.5", "")), _hops, st.data())
def test_the_visitor_is_the_first_stranger_from_the_right(
    peer: str, hops: list[tuple[Address | str | None, str]], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.booleans(), min_size=len(hops), max_size=len(hops)))
    headers: list[str] = []
    for (_, text), new_header in zip(hops, cuts, strict=True):
        if new_header or not headers:
            headers.append(text)
        else:
            headers[-1] += "," + text
    expected = parse_address(peer or "0.0.0.0")
    assert expected is not None
    own = expected.text
    visitor = own
    if peer not in ("203.0.113.5", ""):
        for address, _ in reversed(hops):
            if address == "garbage":
                visitor = own
                break
            if address is None:
                continue
            visitor = str(address)
            if not is_listed(address):  # type: ignore[arg-type]
                break
    assert ipaddress.ip_address(PROXIES.visitor(peer, headers).text) == ipaddress.ip_address(visitor)


@searched
@given(
    st.lists(
        st.one_of(st.text("0123456789abcdef.:[]%, \t", max_size=40), raw_values.map(lambda r: r.decode("latin-1")))
    )
)
def test_no_header_gives_an_address_that_is_not_written_in_it(headers: list[str]) -> None:
    elements = [element for header in headers for element in header.split(",")]
    possible = {parsed.text for element in elements if (parsed := parse_address(element)) is not None}
    assert PROXIES.visitor("127.0.0.1", headers).text in possible | {"127.0.0.1"}
    assert PROXIES.visitor("203.0.113.5", headers).text == "203.0.113.5"


@searched
@given(st.text("0123456789abcdefABCDEF.:[]% \t\x00é٣²", max_size=45) | st.text(max_size=45))
@example("1.2.3.4:65536")
@example("[::1]:65536")
@example("1.2.3.4:٣")
def test_an_address_is_read_as_the_standard_library_reads_it(text: str) -> None:
    found = parse_address(text)
    bare = text.strip(" \t")
    bracketed = re.fullmatch(r"\[([^\]]*:[^\]]*)\](?::([0-9]{1,5}))?", bare)
    with_port = re.fullmatch(r"([0-9.]+):([0-9]{1,5})", bare)
    shape = bracketed or with_port
    name = shape[1] if shape else bare
    if shape and shape[2] and int(shape[2]) > 65535:
        assert found is None
        return
    try:
        expected = ipaddress.ip_address(name.partition("%")[0] if ":" in name and not name.endswith("%") else name)
    except ValueError:
        assert found is None
        return
    mapped = expected.ipv4_mapped if isinstance(expected, ipaddress.IPv6Address) else None
    assert found is not None
    assert (found.version, found.packed) == ((mapped or expected).version, int(mapped or expected))


@searched
@given(_v4 | _v6)
def test_what_is_stored_names_the_network_and_never_the_neighbour(address: Address) -> None:
    parsed = parse_address(str(address))
    assert parsed is not None
    network = ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False)
    kept = stored_ip(parsed, "truncated")
    assert ipaddress.ip_address(kept) == network.network_address
    neighbour = network.broadcast_address
    assert kept == stored_ip(ClientAddress(str(neighbour), neighbour.version, int(neighbour)), "truncated")
    assert stored_ip(parsed, "none") == ""
    assert ipaddress.ip_address(stored_ip(parsed, "full")) == address


OURS = (
    "go.example",
    "GO.Example",
    "go.example.",
    "localhost",
    "LocalHost",
    "a.localhost",
    "127.0.0.1",
    "127.8.9.1",
    "[::1]",
)
NOT_OURS = (
    "evil.example", "go.example.evil", "evilgo.example", "go.example@evil.example", "localhost.evil", "notlocalhost",
    "128.0.0.1", "[::2]", "10.0.0.1", "go", "example", "[::1", "::1]", "go.example/", "go.example\\", "go.example#",
    "go.example,evil.example", " go.example", "go example", "",
)  # fmt: skip
PORTS = ("", ":", ":80", ":65535")
NO_PORTS = (":x", ":80:80", ":-1", ": 80", ":8 0", ":\xb2", ":80\xb9", ":80@evil.example", "x]")


@searched
@given(st.sampled_from(OURS + NOT_OURS), st.sampled_from(PORTS + NO_PORTS))
@example("localhost", ":\xb2")
def test_a_host_is_ours_by_its_whole_name(name: str, port: str) -> None:
    hosts = Hosts("https://go.example", "127.0.0.1")
    assert hosts.answers((name + port).encode("latin-1")) == (name in OURS and port in PORTS)
    other = Hosts("https://go.example", "0.0.0.0")
    assert other.answers((name + port).encode("latin-1")) == (name in OURS[:3] and port in PORTS)


@searched
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from((b"go", b".", b"example", b"localhost", b"127.0.0.1", b":", b"80", b"[", b"]", b"::1", b"%",
                                b"@", b"/", b"\xb2", b" ", b"evil", b"0x7f.1", b"127.1", b"2130706433"))).map(b"".join)
)  # fmt: skip
@example(b"[localhost]")
@example(b"[127.0.0.1]")
@example(b"localhost..")
def test_what_is_taken_for_ours_is_the_same_host_for_a_browser(host: bytes) -> None:
    if not Hosts("https://go.example", "127.0.0.1").answers(host):
        return
    try:
        browsers = ada_url.URL(f"http://{re.sub(':[0-9]*$', '', host.decode('latin-1'))}/").hostname
    except ValueError:
        pytest.fail(f"no browser can have sent {host!r}")
    name = browsers.removesuffix(".")
    assert name == "go.example" or name == "[::1]" or name.endswith("localhost") or name.startswith("127.")


@searched
@given(raw_values, raw_values, raw_values)
def test_header_texts_are_short_printable_and_stable(first: bytes, second: bytes, third: bytes) -> None:
    raw = first + second * 100 + third
    text = header_text(raw)
    assert not UNPRINTABLE.search(text)
    assert len(text.encode()) <= MAX_TEXT
    assert header_text(text.encode()) == text


_pages = st.tuples(
    st.sampled_from(("https://", "http://", "HTTPS://")),
    st.sampled_from(("", "jo:word@", "jo@", "jo:p%40ss@", "a@b@", "jo:[@")),
    st.sampled_from(("news.example", "News.Example", "127.0.0.1", "[2001:db8::1]", "xn--bcher-kva.example")),
    st.sampled_from(("", ":", ":80", ":65535")),
    st.sampled_from(("", "/", "/a/b", "/a@b", "/a:b/c", "/%zz", "//x", "/ü")),
    st.sampled_from(("", "?user=jo", "#me", "?a=b#c", "#a?b", "?")),
)


@searched
@given(_pages)
def test_a_referrer_loses_everything_private_and_nothing_else(page: tuple[str, str, str, str, str, str]) -> None:
    scheme, _, host, port, path, _ = page
    kept, domain = referrer("".join(page).encode())
    assert kept == scheme + host + port + path
    assert domain == host.lower()
    assert domain == ada_url.URL("".join(page)).hostname


@searched
@given(
    st.sampled_from((b"", b"https://", b"http://jo:word@", b"//", b"https:\\\\")), st.lists(raw_values).map(b"".join)
)
def test_no_referrer_keeps_a_query_a_control_or_an_endless_text(begin: bytes, rest: bytes) -> None:
    kept, domain = referrer(begin + rest)
    for text in (kept, domain):
        assert len(text.encode()) <= MAX_TEXT
        assert not UNPRINTABLE.search(text)
        assert not set(text) & set("?#")
    assert domain == domain.lower()
    assert not set(domain) & set("/@")


@searched
@given(
    st.lists(
        st.sampled_from(("de", "DE-at", "*", "en;q=0.8", "x" * 9, "i-klingon", "", " ", "ü", "q=1", "a1")), max_size=4
    )
)
def test_a_language_is_the_first_tag_or_nothing(tags: list[str]) -> None:
    found = language(",".join(tags))
    first = (tags or [""])[0].strip(" ").split(";")[0].split("-")[0]
    assert found == (first.lower() if re.fullmatch("[A-Za-z]{2,3}", first) else "")


@searched
@given(st.text(max_size=30))
def test_a_language_is_short_and_plain_whatever_is_sent(header: str) -> None:
    assume(header)
    assert re.fullmatch("[a-z]{0,3}", language(header))
