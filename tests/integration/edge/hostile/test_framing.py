"""Where one request ends and the next begins: lengths, chunks and trailers (api.md section 6, RFC 9112 section 6). What
two readers frame differently smuggles a request past one of them, so it is refused.

How large bodies may be: test_bodies.py. How long they may take: test_deadlines.py.
"""

import pytest

from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import (
    CHUNKED,
    LINK,
    assert_refused,
    chunked,
    pieces,
    post,
    proven_click,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End

SMUGGLED = request(LINK + b"?t=smuggled")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((b"Content-Length: 5", CHUNKED), id="length and chunks"),
        pytest.param((CHUNKED, b"Content-Length: 5"), id="chunks and length"),
        pytest.param((CHUNKED, b"Content-Length: 0"), id="chunks and no length"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 5"), id="two lengths alike"),
        pytest.param((b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
        pytest.param((b"Content-Length: 0", b"Content-Length: 5"), id="two lengths, nothing first"),
        pytest.param((b"Content-Length: 5, 5",), id="list of lengths"),
        pytest.param((b"Content-Length: +5",), id="plus"),
        pytest.param((b"Content-Length: -1",), id="minus"),
        pytest.param((b"Content-Length: 0x5",), id="hexadecimal"),
        pytest.param((b"Content-Length: 5 5",), id="blank within"),
        pytest.param((b"Content-Length: 5;a",), id="parameter"),
        pytest.param((b"Content-Length: five",), id="word"),
        pytest.param((b"Content-Length: 5.0",), id="fraction"),
        pytest.param((b"Content-Length: 1e1",), id="exponent"),
        pytest.param((b"Content-Length:",), id="empty"),
        pytest.param((b"Content-Length: \xb2",), id="superscript digit"),
        pytest.param((b"Content-Length: 99999999999999999999999",), id="beyond 64 bits"),
        pytest.param((b"Content-Length: 18446744073709551621",), id="wraps to 5"),
        pytest.param((CHUNKED, CHUNKED), id="chunked twice"),
        pytest.param((b"Transfer-Encoding: chunked, chunked",), id="chunked twice in a line"),
        pytest.param((b"Transfer-Encoding: chunked, identity",), id="identity last"),
        pytest.param((b"Transfer-Encoding: identity",), id="identity"),
        pytest.param((b"Transfer-Encoding: identity, chunked",), id="identity first"),
        pytest.param((b"Transfer-Encoding: xchunked",), id="xchunked"),
        pytest.param((b"Transfer-Encoding: chunkedx",), id="chunkedx"),
        pytest.param((b"Transfer-Encoding: chunked;a=b",), id="parameter of chunked"),
        pytest.param((b'Transfer-Encoding: "chunked"',), id="quoted"),
        pytest.param((b"Transfer-Encoding: \x0bchunked",), id="vertical tab"),
        pytest.param((b"Transfer-Encoding: gzip",), id="gzip"),
        pytest.param((b"Transfer-Encoding: gzip, chunked",), id="gzip in chunks"),
        pytest.param((b"Transfer-Encoding: chunked, gzip",), id="chunks in gzip"),
        pytest.param((b"Transfer-Encoding:",), id="empty coding"),
        pytest.param((b"Transfer-Encoding: cow", CHUNKED), id="nonsense and chunked"),
        pytest.param((b"Transfer-Encoding : chunked",), id="blank before the colon"),
        pytest.param((b"Transfer-Encoding:\r\n chunked",), id="folded"),
    ],
)
@pytest.mark.parametrize("call", ["click", "postback"])
def test_a_length_that_can_be_read_two_ways_is_refused(edge: Edge, lines: tuple[bytes, ...], call: str) -> None:
    """501 for codings that are not spoken (RFC 9112 section 6.1)."""
    body = b"0\r\n\r\n" + SMUGGLED
    sent = request(LINK, *lines, body=body) if call == "click" else post(*lines, body=body)
    assert_refused(edge, sent, 400, 501)


def test_chunks_in_http_1_0_are_refused(edge: Edge) -> None:
    """RFC 9112 section 6.1: the framing of such a request is faulty, whoever sent it."""
    sent = request(LINK, CHUNKED, version=b"HTTP/1.0", body=b"0\r\n\r\n" + SMUGGLED)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(sent)
        status = connection.read().status
        assert status in (302, 400)
        assert connection.end() is End.CLOSED
    assert [event["details"]["params"].get("t") for event in recorded.clicks] == ([None] if status == 302 else [])


BAD_CHUNKS = [
    pytest.param(b"zz\r\nhello\r\n0\r\n\r\n", id="no number"),
    pytest.param(b"-5\r\nhello\r\n0\r\n\r\n", id="minus"),
    pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", id="plus"),
    pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="0x"),
    pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", id="blank before"),
    pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="empty"),
    pytest.param(b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", id="beyond 64 bits"),
    pytest.param(b"10000000000000005\r\nhello\r\n0\r\n\r\n", id="wraps to 5"),
    pytest.param(b"5\r\nhello0\r\n\r\n", id="no line end behind the data"),
    pytest.param(b"5\r\nhelloXX0\r\n\r\n", id="more data than said"),
    pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare LF behind the size"),
    pytest.param(b"5\rhello\r\n0\r\n\r\n", id="bare CR behind the size"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", id="bare LF behind the data"),
    pytest.param(b"5;a\nb\r\nhello\r\n0\r\n\r\n", id="bare LF in an extension"),
    pytest.param(b"5\x00\r\nhello\r\n0\r\n\r\n", id="NUL behind the size"),
    pytest.param(b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", id="trailer without a colon"),
    pytest.param(b"5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n", id="NUL in a trailer"),
]


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_a_postback_in_bad_chunks_is_refused(edge: Edge, body: bytes) -> None:
    assert_refused(edge, post(CHUNKED, body=body + SMUGGLED), 400)


@pytest.mark.parametrize("body", BAD_CHUNKS)
def test_a_click_with_bad_chunks_is_answered_once_and_nothing_follows(edge: Edge, body: bytes) -> None:
    """Refused, or counted before its body is looked at; the answer says which."""
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(LINK, CHUNKED, body=body + SMUGGLED))
        first = connection.read()
        assert first.status in (302, 400)
        assert connection.end() is End.CLOSED
    assert len(recorded.clicks) == (1 if first.status == 302 else 0)
    assert "smuggled" not in str(recorded.clicks)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda body: chunked(body), id="one chunk"),
        pytest.param(lambda body: chunked(*pieces(body, 1)), id="chunks of one byte"),
        pytest.param(lambda body: b'%X;a=b;c="d"\r\n%s\r\n0;last\r\n\r\n' % (len(body), body), id="extensions"),
        pytest.param(lambda body: b"%010x\r\n%s\r\n000\r\n\r\n" % (len(body), body), id="leading zeros"),
        pytest.param(
            lambda body: b"%x\r\n%s\r\n0\r\nX: y\r\nHost: evil.example\r\n\r\n" % (len(body), body), id="trailers"
        ),
    ],
)
def test_good_chunks_are_a_body_and_what_follows_is_the_next_request(edge: Edge, build: object) -> None:
    assert callable(build)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(post(CHUNKED, body=build(b"clickid=" + proven_click(edge))) + request(LINK + b"?t=next"))
        assert [answer.status for answer in connection.read_all(["POST", "GET"])] == [200, 302]
    assert len(recorded.postbacks) == len(recorded.clicks) == 1


@pytest.mark.parametrize("trailer", [b"Content-Length: 9", CHUNKED, b"Transfer-Encoding: x", b"Connection: close"])
def test_a_trailer_that_would_frame_is_refused_or_changes_nothing(edge: Edge, trailer: bytes) -> None:
    """RFC 9110 section 6.5.1: it has no place there."""
    body = b"clickid=" + proven_click(edge)
    sent = post(CHUNKED, body=b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, trailer))
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(sent + request(LINK + b"?t=next"))
        first = connection.read("POST")
        assert first.status in (200, 400)
        following = connection.read_or_end() if first.status == 200 else None
        assert following is None or following.status == 302
        assert following is not None or first.header("connection") == "close"
    assert len(recorded.postbacks) == (1 if first.status == 200 else 0)
    assert len(recorded.clicks) == (0 if following is None else 1)
