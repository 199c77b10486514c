"""Bodies: how large a postback's may be, what becomes of one that nobody asked for, who is told to continue, and that
an offer of another protocol changes nothing (api.md sections 1 and 6, security X14).

Where a body begins and ends: test_framing.py. What a postback's body means: test_postbacks.py.
"""

import time

import pytest

from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import (
    CHUNKED,
    LINK,
    chunked,
    length,
    pieces,
    post,
    proven_click,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End

MAX_BODY = 16 * 1024
MAX_DRAINED = 64 * 1024
SMUGGLED = request(LINK + b"?t=smuggled")


def form(edge: Edge, size: int | None = None) -> bytes:
    """A postback's body that proves a click, padded to `size`."""
    body = b"clickid=" + proven_click(edge)
    return body if size is None else body + b"&x=" + b"y" * (size - len(body) - 3)


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413), (1 << 20, 413)])
def test_a_postback_may_be_16_kb(edge: Edge, size: int, status: int, in_chunks: bool) -> None:
    body = form(edge, size)
    sent = post(CHUNKED, body=chunked(*pieces(body, 4_000))) if in_chunks else post(length(body), body=body)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send_pieces(pieces(sent, 8_192))
        assert connection.read("POST").status == status
    assert len(recorded.postbacks) == (1 if status == 200 else 0)


def test_behind_a_body_that_is_too_large_nothing_is_smuggled(edge: Edge) -> None:
    body = form(edge, MAX_BODY) + SMUGGLED
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(post(length(body), body=body) + request(LINK + b"?t=next"))
        assert connection.read("POST").status == 413
        following = connection.read_or_end()
    assert following is None or following.status == 302
    assert [event["details"]["params"]["t"] for event in recorded.clicks] == ([] if following is None else ["next"])


@pytest.mark.parametrize("size", [1, 500, MAX_DRAINED - 1, MAX_DRAINED])
@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
def test_a_body_of_a_click_is_drained_up_to_64_kb(edge: Edge, size: int, in_chunks: bool) -> None:
    """And is data, whatever it looks like."""
    body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
    first = request(LINK + b"?t=first", CHUNKED, body=chunked(*pieces(body, 5_000)))
    if not in_chunks:
        first = request(LINK + b"?t=first", length(body), body=body)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(first + request(LINK + b"?t=next"))
        assert [answer.status for answer in connection.read_all(["GET", "GET"])] == [302, 302]
    assert [event["details"]["params"]["t"] for event in recorded.clicks] == ["first", "next"]


@pytest.mark.parametrize("size", [MAX_DRAINED + 1, 300_000, 4_000_000])
@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
def test_a_click_with_a_larger_body_is_counted_once_and_the_connection_closed(
    edge: Edge, size: int, in_chunks: bool
) -> None:
    body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
    sent = request(LINK, CHUNKED, body=chunked(*pieces(body, 5_000)))
    if not in_chunks:
        sent = request(LINK, length(body), body=body)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send_pieces(pieces(sent, 16_384))
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (302, "close")
        assert connection.end() is not End.OPEN
    assert len(recorded.clicks) == 1


def test_a_length_that_no_body_follows_is_no_end_of_a_click(edge: Edge) -> None:
    """A body of 10^15 bytes is announced: nobody waits for it."""
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(LINK, b"Content-Length: 1000000000000000", body=b"x" * (MAX_DRAINED + 1)))
        assert connection.read().status == 302
        assert connection.end() is not End.OPEN
    assert len(recorded.clicks) == 1


def test_a_length_shorter_than_the_body_leaves_a_request_that_is_refused(edge: Edge) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(post(b"Content-Length: 3", body=b"x=1clickid=abc\r\n\r\n" + SMUGGLED))
        assert [answer.status for answer in connection.read_all(["POST", "GET"])] in ([400, 400], [400, 501])
        assert connection.end() is End.CLOSED
    assert recorded.clicks == []


@pytest.mark.parametrize("target", [b"/", b"/robots.txt", b"/elsewhere", b"/c/unknown"], ids=bytes.decode)
@pytest.mark.parametrize("size", [10, 30_000])
def test_a_body_on_any_other_path_is_never_a_request(edge: Edge, target: bytes, size: int) -> None:
    body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(target, length(body), body=body))
        assert connection.read().status in (200, 404)
    assert recorded.clicks == []


def test_who_expects_100_is_told_to_continue(edge: Edge) -> None:
    body = form(edge)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(post(length(body), b"Expect: 100-continue", body=b""))
        assert connection.read("POST").status == 100
        connection.send(body)
        assert connection.read("POST").status == 200
    assert len(recorded.postbacks) == 1


def test_who_expects_100_and_does_not_wait_is_answered(edge: Edge) -> None:
    body = form(edge)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(post(length(body), b"Expect: 100-continue", body=body))
        first = connection.read("POST")
        assert (first if first.status != 100 else connection.read("POST")).status == 200
    assert len(recorded.postbacks) == 1


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0", b"nonsense"], ids=bytes.decode)
def test_an_offer_to_change_the_protocol_is_not_taken(edge: Edge, upgrade: bytes) -> None:
    """The click is answered. What follows is answered as well, or the connection closes: it never hangs."""
    lines = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade, b"HTTP2-Settings: AAMAAABkAAQAAP__")
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(LINK, *lines) + request(LINK + b"?t=next"))
        assert connection.read().status == 302
        following = connection.read_or_end()
    assert following is None or following.status == 302
    assert len(recorded.clicks) == (1 if following is None else 2)


def test_an_answer_is_read_even_by_who_sends_on(edge: Edge) -> None:
    """The refusal must not be lost to a reset: the server closes only its own side at first (RFC 9112, 9.6)."""
    with Connection(edge.port) as connection:
        connection.send(b"nonsense\r\n\r\n")
        time.sleep(0.3)
        for _ in range(20):
            connection.send(b"more of it" * 1_000)
        assert connection.read().status == 400
