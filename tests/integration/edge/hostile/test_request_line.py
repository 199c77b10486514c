"""Request lines no browser sends: versions, verbs, forms of the target, bytes that are no URL, and lengths around 8 KB.

What each must get: api.md section 6, and RFC 9112 section 3 where that is silent. Where the RFC leaves a choice, the
cases name every answer it allows; an answer and the journal must then tell the same. Header lines: test_headers.py.
Which verbs each path takes: test_methods.py.
"""

import pytest

from tests.integration.edge import rows
from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import (
    LINK,
    ask_once,
    assert_plain,
    assert_refused,
    pieces,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End

MAX_URL = 8192
CLIENT_HELLO = bytes.fromhex(
    "16030100c1010000bd0303" + "5a" * 32 + "20" + "a5" * 32 + "0022130113031302c02bc02fcca9cca8c02cc030"
    "c00ac009c013c014009c009d002f00350100005200000000000e000c0000096c6f63616c686f7374"
)


@pytest.mark.parametrize(
    ("version", "statuses"),
    [
        ("HTTP/2.0", (505,)),
        ("HTTP/3.0", (505,)),
        ("HTTP/1.2", (505,)),
        ("HTTP/9.9", (505,)),
        # written out, 0.9 is a version that is not spoken and a form that never was one
        ("HTTP/0.9", (400, 505)),
        ("HTTP/1", (400, 505)),
        ("HTTP/2", (400, 505)),
        ("HTTP/1.10", (400, 505)),
        ("HTTP/1.1.1", (400, 505)),
        ("HTTP/11", (400, 505)),
        ("HTTP/x.y", (400, 505)),
        ("HTTP/+1.1", (400, 505)),
        ("http/1.1", (400, 505)),
        ("HTTPS/1.1", (400, 505)),
        ("HTTP 1.1", (400, 505)),
        ("ICE/1.0", (400, 505)),
        ("HTTP/1.1 x", (400, 505)),
    ],
)
def test_a_version_that_is_not_spoken_is_refused(edge: Edge, version: str, statuses: tuple[int, ...]) -> None:
    sent = request(version=version.encode())
    assert_plain(ask_once(edge, sent))
    assert_refused(edge, sent, *statuses)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET " + LINK + b"\r\n", id="http 0.9"),
        pytest.param(b"GET " + LINK + b"\r\n\r\n", id="no version and a blank line"),
        pytest.param(b"GET " + LINK + b"\r\nHost: localhost\r\n\r\n", id="no version and headers"),
        pytest.param(b"GET " + LINK + b" \r\nHost: localhost\r\n\r\n", id="blank for a version"),
        pytest.param(b"GET\r\nHost: localhost\r\n\r\n", id="verb alone"),
        pytest.param(b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n", id="no target"),
        pytest.param(b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n", id="empty target"),
        pytest.param(b" GET " + LINK + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="blank before the verb"),
        pytest.param(b"GET\t" + LINK + b"\tHTTP/1.1\r\nHost: localhost\r\n\r\n", id="tabs for blanks"),
        pytest.param(b"GET " + LINK + b" HTTP/1.1\nHost: localhost\r\n\r\n", id="bare LF"),
        pytest.param(b"GET " + LINK + b" HTTP/1.1\rHost: localhost\r\n\r\n", id="bare CR"),
        pytest.param(b"GET relative/path HTTP/1.1\r\nHost: localhost\r\n\r\n", id="no slash"),
        pytest.param(b"GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", id="authority for a target"),
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"\xff\xfe\xfd" * 20 + b"\r\n\r\n", id="high bytes"),
        pytest.param(CLIENT_HELLO, id="TLS ClientHello"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH banner"),
        pytest.param(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", id="Redis command"),
        pytest.param(b"G@T " + LINK + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="verb that is no token"),
        pytest.param(b"G\x00ET " + LINK + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", id="NUL in the verb"),
    ],
)
def test_what_is_no_request_line_is_refused(edge: Edge, sent: bytes) -> None:
    assert_plain(ask_once(edge, sent))
    assert_refused(edge, sent, 400, 505)


def test_the_http2_preface_is_refused(edge: Edge) -> None:
    assert_refused(edge, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400, 505)


def test_a_proxy_protocol_line_is_not_believed(edge: Edge) -> None:
    """It reads as an unknown verb with a bad target."""
    assert_refused(edge, b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n" + request(), 400, 501, 505)


@pytest.mark.parametrize("verb", ["get", "Get", "BREW", "PURGE", "X", "GETT", "GE", "M-SEARCH", "!#$%&'*+-.^_`|~", "1"])
def test_a_verb_that_is_unknown_is_not_a_get(edge: Edge, verb: str) -> None:
    """405, or 501 from a parser that knows its verbs; api.md section 7."""
    with recording(edge) as recorded:
        assert ask_once(edge, request(method=verb.encode())).status in (405, 501)
    assert recorded.all == []


@pytest.mark.parametrize("blank_lines", [1, 3])
def test_blank_lines_before_the_request_are_passed_over(edge: Edge, blank_lines: int) -> None:
    """RFC 9112 section 2.2."""
    with recording(edge) as recorded:
        assert ask_once(edge, b"\r\n" * blank_lines + request()).status == 302
    assert len(recorded.clicks) == 1


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET  " + LINK + b" HTTP/1.1\r\n", id="two blanks before the target"),
        pytest.param(b"GET " + LINK + b"  HTTP/1.1\r\n", id="two blanks after the target"),
        pytest.param(b"GET " + LINK + b"?a=\x01b HTTP/1.1\r\n", id="control in the query"),
        pytest.param(b"GET " + LINK + b"?a=\x1bb HTTP/1.1\r\n", id="ESC in the query"),
        pytest.param(b"GET " + LINK + b"?a=\x7fb HTTP/1.1\r\n", id="DEL in the query"),
        pytest.param(b"GET " + LINK + b"?a=\tb HTTP/1.1\r\n", id="tab in the query"),
        pytest.param(b"GET " + LINK + b"?a=\x0cb HTTP/1.1\r\n", id="form feed in the query"),
        pytest.param(b"GET " + LINK + b"#fragment HTTP/1.1\r\n", id="fragment"),
        pytest.param(b"GET " + LINK + b"?sub1=a#fragment HTTP/1.1\r\n", id="fragment after a query"),
    ],
)
def test_a_sloppy_target_is_refused_or_counted_but_never_half(edge: Edge, line: bytes) -> None:
    """RFC 9112 section 3 lets a server be lenient here. Whichever it is, answer and journal agree, and nothing
    unprintable is kept or sent on."""
    with recording(edge) as recorded:
        answer = ask_once(edge, line + b"Host: localhost\r\n\r\n")
    assert answer.status in (302, 400)
    assert len(recorded.clicks) == (1 if answer.status == 302 else 0)
    for event in recorded.clicks:
        assert all(value.isprintable() for value in event["details"]["params"].values())
        assert "fragment" not in answer.location


@pytest.mark.parametrize("place", ["path", "query"])
@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\n"], ids=["NUL", "CR", "LF"])
def test_nul_and_line_ends_in_a_target_are_refused(edge: Edge, byte: bytes, place: str) -> None:
    target = LINK + byte + b"x" if place == "path" else LINK + b"?sub1=a" + byte + b"b"
    assert_refused(edge, request(target), 400, 505)


@pytest.mark.parametrize(
    ("raw", "kept", "sent_on"),
    [
        (b"\xff", "%FF", "%FF"),
        (b"a\xc0\xaeb", "a%C0%AEb", "a%C0%AEb"),
        (b"\xc3\xa9", "é", "%C3%A9"),
        (b"\xe2\x82", "%E2%82", "%E2%82"),
        (b"\xc2\x85", "%C2%85", "%C2%85"),
    ],
    ids=["no UTF-8", "overlong", "UTF-8", "cut short", "control in UTF-8"],
)
def test_raw_high_bytes_in_the_query_are_kept_escaped(edge: Edge, raw: bytes, kept: str, sent_on: str) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(LINK + b"?sub1=" + raw))
    assert answer.status == 302
    assert recorded.clicks[0]["details"]["subs"] == {"sub1": kept}
    assert answer.location.endswith(f"&sub={sent_on}")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(LINK + b"\xff", id="high byte behind the link"),
        pytest.param(b"/c/\xc3\xa9", id="UTF-8"),
        pytest.param(b"/\xff" + LINK, id="high byte before it"),
        pytest.param(b"/" + LINK, id="two slashes"),
        pytest.param(b"/c/.." + LINK, id="dots"),
        pytest.param(b"/c/%2e%2e" + LINK, id="escaped dots"),
        pytest.param(b"/x/.." + LINK, id="dots outside"),
        pytest.param(b"/C/" + rows.ACTIVE.uuid.encode(), id="capital prefix"),
        pytest.param(b"/c//" + rows.ACTIVE.uuid.encode(), id="two slashes within"),
        pytest.param(b"/c%2f" + rows.ACTIVE.uuid.encode() + b"/x", id="escaped slash"),
        pytest.param(LINK + b"%00", id="escaped NUL behind the link"),
        pytest.param(LINK + b"%20", id="escaped blank behind the link"),
        pytest.param(LINK + b";x=1", id="path parameter"),
        pytest.param(LINK + b".html", id="suffix"),
        pytest.param(LINK[:-1], id="one character short"),
        pytest.param(b"/c/%zz", id="bad escape"),
        pytest.param(b"/c/" + b"%c0%ae" * 200, id="overlong UTF-8"),
    ],
)
def test_a_path_that_only_resembles_the_link_is_no_link(edge: Edge, target: bytes) -> None:
    with recording(edge) as recorded:
        assert ask_once(edge, request(target)).status in (400, 404)
    assert recorded.clicks == []


@pytest.mark.parametrize(
    ("target", "host", "statuses"),
    [
        (b"http://localhost" + LINK, b"localhost", (302,)),
        (b"http://localhost:8080" + LINK + b"?sub1=a", b"localhost:8080", (302,)),
        (b"HTTP://LOCALHOST" + LINK, b"localhost", (302,)),
        (b"https://localhost" + LINK, b"localhost", (302,)),
        # RFC 9112 section 3.2.2: the target's host counts, Host is not looked at
        (b"http://localhost" + LINK, b"evil.example", (302,)),
        (b"http://evil.example" + LINK, b"evil.example", (404,)),
        (b"http://evil.example" + LINK, b"localhost", (404,)),
        (b"http://localhost@evil.example" + LINK, b"localhost", (400, 404)),
        (b"http://evil.example:80@localhost" + LINK, b"evil.example", (400, 404)),
        # ports are not compared, not even with what a port can be
        (b"http://localhost:99999" + LINK, b"localhost", (302, 400, 404)),
        (b"http://" + LINK, b"localhost", (400, 404)),
        (b"http:" + LINK, b"localhost", (400, 404)),
        (b"ftp://localhost" + LINK, b"localhost", (400, 404)),
        (b"javascript:alert(1)", b"localhost", (400, 404)),
        (b"http://localhost", b"localhost", (200,)),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_the_host_of_an_absolute_target_counts(
    edge: Edge, target: bytes, host: bytes, statuses: tuple[int, ...]
) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(target, host=host))
    assert answer.status in statuses
    assert len(recorded.clicks) == (1 if answer.status == 302 else 0)


def test_an_absolute_target_does_not_replace_the_host_header(edge: Edge) -> None:
    assert_refused(edge, request(b"http://localhost" + LINK, host=None), 400)


def padded(size: int) -> bytes:
    """The link with a query, `size` bytes long, no value longer than is kept."""
    target = LINK + b"?sub1=long"
    while len(target) + 1_000 < size:
        target += b"&p%d=" % len(target) + b"x" * 900
    return target + b"&r=" + b"y" * (size - len(target) - 3)


@pytest.mark.parametrize("size", [MAX_URL - 1, MAX_URL])
def test_a_url_of_8_kb_is_taken(edge: Edge, size: int) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(padded(size)))
    assert answer.status == 302
    assert answer.location.endswith("&sub=long")
    assert len(recorded.clicks) == 1


def test_the_url_is_no_part_of_the_headers_that_may_be_16_kb(edge: Edge) -> None:
    lines = [b"X-%d: " % number + b"h" * 4_000 for number in range(4)]
    assert ask_once(edge, request(padded(MAX_URL), *lines)).status == 302


@pytest.mark.parametrize("size", [MAX_URL + 1, MAX_URL + 200, 20_000, 200_000])
@pytest.mark.parametrize("path", [LINK, b"/", b"/c/unknown"], ids=["link", "root", "unknown"])
def test_a_longer_url_is_414(edge: Edge, size: int, path: bytes) -> None:
    sent = request(path + b"?" + b"x" * (size - len(path) - 1))
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(sent)
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (414, "close")
        assert_plain(answer)
        assert connection.end() is not End.OPEN
    assert recorded.all == []


@pytest.mark.parametrize(("size", "piece"), [(10_000, 7), (100_000, 1_000)])
def test_a_url_that_never_ends_is_refused_before_its_end(edge: Edge, size: int, piece: int) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send_pieces(pieces(b"GET " + LINK + b"?" + b"x" * size, piece))
        assert connection.read().status == 414
        assert connection.end() is not End.OPEN
    assert recorded.all == []


@pytest.mark.parametrize("junk", [b"A", b"\x80", b"{"], ids=["letters", "high bytes", "braces"])
def test_a_megabyte_without_a_line_end_is_refused(edge: Edge, junk: bytes) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send_pieces(pieces(junk * (1 << 20), 16_384))
        assert connection.read().status in (400, 414, 431, 501)
        assert connection.end() is not End.OPEN
    assert recorded.all == []
