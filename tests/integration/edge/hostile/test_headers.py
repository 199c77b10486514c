"""Header lines: Host and its counterfeits, syntax that parsers read in two ways, and the limits of 8 KB a line, 16 KB
together and 100 lines (api.md section 6; RFC 9110 section 5, RFC 9112 section 5).

Header values that are kept, such as a user agent's: test_link_input.py. Content-Length and Transfer-Encoding:
test_framing.py.
"""

import pytest

from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import (
    LINK,
    POSTBACK,
    ask_once,
    assert_plain,
    assert_refused,
    pieces,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End

MAX_LINE = 8192
MAX_HEADERS = 16_384
MAX_COUNT = 100
SLACK = 64
"""Whether the line end and the blank behind the colon count is nobody's business: no case is nearer to a limit."""


def with_lines(*lines: bytes, ending: bytes = b"\r\n\r\n") -> bytes:
    return b"GET " + LINK + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + ending


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((b"X: y",), id="none"),
        pytest.param((b"Host: localhost", b"Host: localhost"), id="two alike"),
        pytest.param((b"Host: localhost", b"Host: evil.example"), id="two different, ours first"),
        pytest.param((b"Host: evil.example", b"Host: localhost"), id="two different, ours last"),
        pytest.param((b"Host: localhost", b"X: y", b"hOsT: localhost"), id="two in different spelling"),
        pytest.param((b"Host:", b"Host: localhost"), id="empty and ours"),
    ],
)
def test_a_request_without_exactly_one_host_is_refused(edge: Edge, lines: tuple[bytes, ...]) -> None:
    sent = with_lines(*lines)
    assert_plain(ask_once(edge, sent))
    assert_refused(edge, sent, 400)


def test_no_host_is_refused_on_every_path(edge: Edge) -> None:
    for target in (b"/", b"/robots.txt", b"/favicon.ico", b"/c/unknown", POSTBACK + b"?clickid=x", b"/elsewhere"):
        assert_refused(edge, request(target, host=None), 400)


def test_two_hosts_are_refused_in_http_1_0_too(edge: Edge) -> None:
    assert_refused(edge, request(LINK, b"Host: localhost", version=b"HTTP/1.0"), 400)


def test_http_1_0_without_a_host_reaches_no_link(edge: Edge) -> None:
    with recording(edge) as recorded:
        assert ask_once(edge, request(version=b"HTTP/1.0", host=None)).status in (400, 404)
    assert recorded.all == []


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"local host",
        b"localhost:",
        b"localhost:80:80",
        b"localhost:abc",
        b"localhost:-1",
        b"localhost/",
        b"localhost/c/",
        b"localhost, evil.example",
        b"localhost,localhost",
        b"user@localhost",
        b"localhost@evil.example",
        b"evil.example#localhost",
        b"http://localhost",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[localhost]",
        b"localhost\\evil.example",
        b"localhost%00.evil.example",
        b"localhost.evil.example",
        b"xlocalhost",
        b"\xff\xff",
        b"l" * 300,
        b"0177.0.0.1",
        b"2130706433",
        b"127.1",
        b"*",
        b"evil.example",
    ],
    ids=lambda host: host[:30].decode("latin-1") or "empty",
)
def test_a_host_that_is_not_ours_reaches_no_link(edge: Edge, host: bytes) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(host=host))
    # what cannot be a host may be refused; `localhost:` is ours with an empty port (RFC 3986, 3.2.3)
    allowed = (302, 400, 404) if host == b"localhost:" else (400, 404)
    assert answer.status in allowed
    assert len(recorded.clicks) == (1 if answer.status == 302 else 0)


def test_an_unknown_host_is_answered_like_an_unknown_link_and_stays_connected(edge: Edge) -> None:
    with Connection(edge.port) as connection:
        connection.send(request(host=b"evil.example") + request(b"/c/unknown") + request(b"/c/", host=b"evil.example"))
        first, *others = connection.read_all(["GET"] * 3)
        assert first.status == 404
        assert {answer.without_date() for answer in others} == {first.without_date()}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X : y", id="blank before the colon"),
        pytest.param(b"X\t: y", id="tab before the colon"),
        pytest.param(b"Content-Length : 5", id="blank before the colon of the length"),
        pytest.param(b"X: y\r\n folded", id="folded by a blank"),
        pytest.param(b"X: y\r\n\tfolded", id="folded by a tab"),
        pytest.param(b"X:\r\n folded", id="folded and empty"),
        pytest.param(b" X: y", id="blank before the name"),
        pytest.param(b": y", id="empty name"),
        pytest.param(b"X", id="no colon"),
        pytest.param(b"X y", id="no colon but a blank"),
        pytest.param(b"X Z: y", id="blank in the name"),
        pytest.param(b"X[]: y", id="brackets in the name"),
        pytest.param(b"X(a): y", id="parentheses in the name"),
        pytest.param(b'X"a": y', id="quotes in the name"),
        pytest.param(b"X\x00: y", id="NUL in the name"),
        pytest.param(b"X\x01: y", id="control in the name"),
        pytest.param(b"X\xff: y", id="high byte in the name"),
        pytest.param(b"X\xc3\xa9: y", id="UTF-8 in the name"),
        pytest.param(b"X: a\x00b", id="NUL in the value"),
        pytest.param(b"X: \x00", id="NUL for a value"),
        pytest.param(b"X: a\nY: b", id="bare LF"),
        pytest.param(b"X: a\rY: b", id="bare CR"),
        pytest.param(b"X: a\r", id="CR twice"),
        pytest.param(b"X: a\n", id="LF and the line end"),
        pytest.param(b"\rX: a", id="CR before the name"),
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_malformed_header_line_is_refused(edge: Edge, line: bytes, place: str) -> None:
    lines = (line, b"Host: localhost") if place == "first" else (b"Host: localhost", line)
    sent = with_lines(*lines)
    assert_plain(ask_once(edge, sent))
    assert_refused(edge, sent, 400)


@pytest.mark.parametrize(
    "ending",
    [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r\n", b"\r\n\r\r\n"],
    ids=["LFLF", "CRLFLF", "LFCRLF", "CRCRLF", "mix"],
)
def test_an_end_of_the_headers_without_its_line_ends_is_refused(edge: Edge, ending: bytes) -> None:
    assert_refused(edge, with_lines(b"Host: localhost", b"X: y", ending=ending), 400)


@pytest.mark.parametrize("byte", [1, 8, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F])
def test_a_control_in_a_value_is_refused_or_harmless(edge: Edge, byte: int) -> None:
    """RFC 9110 section 5.5 forbids CR, LF and NUL; other controls a server may keep where it is safe."""
    with recording(edge) as recorded:
        answer = ask_once(edge, request(LINK, b"X: a" + bytes([byte]) + b"b"))
    assert answer.status in (302, 400)
    assert len(recorded.clicks) == (1 if answer.status == 302 else 0)


@pytest.mark.parametrize("value", [b"", b" ", b"\t", b"\t a \t", b"\xff\x80", b'"quoted"', b"a: b: c"])
def test_an_unusual_value_is_taken(edge: Edge, value: bytes) -> None:
    assert ask_once(edge, request(LINK, b"X:" + value)).status == 302


@pytest.mark.parametrize("name", [b"x", b"!#$%&'*+-.^_`|~9aZ", b"X" * 200])
def test_any_token_is_a_name(edge: Edge, name: bytes) -> None:
    assert ask_once(edge, request(LINK, name + b": y")).status == 302


def of_total(size: int) -> list[bytes]:
    """Lines of at most 3 KB that are `size` bytes together, line ends included."""
    lines: list[bytes] = []
    while size > 0:
        line = b"X-%d: " % len(lines)
        now = min(3_000, size)
        lines.append(line + b"v" * (now - len(line) - 2))
        size -= now
    return lines


def test_a_header_line_just_below_8_kb_is_taken(edge: Edge) -> None:
    assert ask_once(edge, request(LINK, b"X: " + b"v" * (MAX_LINE - SLACK))).status == 302
    assert ask_once(edge, request(LINK, b"X" * (MAX_LINE - SLACK) + b": v")).status == 302


@pytest.mark.parametrize("size", [MAX_LINE + SLACK, 12_000, 100_000])
@pytest.mark.parametrize("long", ["name", "value", "blanks"])
def test_a_header_line_above_8_kb_is_431(edge: Edge, long: str, size: int) -> None:
    line = {"name": b"X" * size + b": v", "value": b"X: " + b"v" * size, "blanks": b"X:" + b" " * size + b"v"}[long]
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(LINK, line))
        answer = connection.read()
        if long == "blanks" and answer.status == 302:
            return  # blanks around a value are none of it; that they end somewhere: the next test
        assert (answer.status, answer.header("connection")) == (431, "close")
        assert_plain(answer)
        assert connection.end() is not End.OPEN
    assert recorded.all == []


def test_headers_just_below_16_kb_together_are_taken(edge: Edge) -> None:
    assert ask_once(edge, request(LINK, *of_total(MAX_HEADERS - 4 * SLACK))).status == 302


@pytest.mark.parametrize("size", [MAX_HEADERS + SLACK, 30_000, 200_000])
def test_headers_above_16_kb_together_are_431(edge: Edge, size: int) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(LINK, *of_total(size)))
        assert connection.read().status == 431
        assert connection.end() is not End.OPEN
    assert recorded.all == []


@pytest.mark.parametrize(("count", "status"), [(MAX_COUNT, 302), (MAX_COUNT + 1, 431), (1_000, 431), (50_000, 431)])
@pytest.mark.parametrize("target", [LINK, b"/robots.txt"], ids=["link", "page"])
def test_a_hundred_headers_are_taken_and_no_more(edge: Edge, count: int, status: int, target: bytes) -> None:
    """Host is one of them."""
    sent = request(target, *(b"A: b" for _ in range(count - 1)))
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send_pieces(pieces(sent, 16_384))
        expected = status if status != 302 or target == LINK else 200
        assert connection.read().status == expected
    assert len(recorded.clicks) == (1 if expected == 302 else 0)


@pytest.mark.parametrize("repeated", [b"Accept: a", b"User-Agent: a", b"X-Forwarded-For: 203.0.113.7", b"Referer: a"])
def test_other_headers_may_come_twice(edge: Edge, repeated: bytes) -> None:
    with recording(edge) as recorded:
        assert ask_once(edge, request(LINK, repeated, repeated)).status == 302
    assert len(recorded.clicks) == 1


def test_a_cookie_of_a_browser_with_many_is_taken(edge: Edge) -> None:
    assert ask_once(edge, request(LINK, b"Cookie: " + b"; ".join(b"c%d=%d" % (n, n) for n in range(500)))).status == 302
