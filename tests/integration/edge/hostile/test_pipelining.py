"""Many requests on one connection: answered in order, each counted once, however the bytes are cut and whatever the
client does meanwhile; and a bad request ends the connection without touching what came before it (api.md section 6,
security X14).
"""

import random
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.edge.harness import Edge, await_true
from tests.integration.edge.hostile.exchange import (
    LINK,
    POSTBACK,
    chunked,
    length,
    pieces,
    post,
    proven_click,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End, RawAnswer

KEEP_ALIVE = b"Connection: keep-alive"
CLOSE = b"Connection: close"


def click(number: int, *lines: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    """A click that its answer and its event can be recognised by."""
    return request(LINK + b"?sub1=%d" % number, *lines, version=version, method=method)


def number_of(answer: RawAnswer) -> int:
    return int(parse_qs(urlsplit(answer.location).query)["sub"][0])


def numbers(events: list[dict[str, object]]) -> list[int]:
    return [int(event["details"]["subs"]["sub1"]) for event in events]  # type: ignore[index]


@pytest.mark.parametrize("size", [None, 1, 7, 61, 1_460], ids=lambda size: "whole" if size is None else f"by {size}")
def test_fifty_clicks_are_answered_in_order_and_counted_once(edge: Edge, size: int | None) -> None:
    sent = b"".join(click(number) for number in range(50))
    with recording(edge) as recorded, Connection(edge.port) as connection:
        for piece in [sent] if size is None else pieces(sent, size):
            connection.send(piece)
        answers = connection.read_all(["GET"] * 50)
    assert [number_of(answer) for answer in answers] == list(range(50))
    assert numbers(recorded.clicks) == list(range(50))


class Mix:
    """Requests of every kind in a shuffled order, and what each must get."""

    def __init__(self, edge: Edge, seed: int, count: int = 50) -> None:
        self.sent: list[bytes] = []
        self.expected: list[tuple[str, int, str]] = []
        choice = random.Random(seed)
        self.clicks: list[int] = []
        self.postbacks: list[str] = []
        for number in range(count):
            kind = choice.choice(
                ["click", "click", "head", "body", "get", "post", "json", "robots", "favicon", "404", "options", "405"]
            )
            self._add(edge, kind, number)

    def _add(self, edge: Edge, kind: str, number: int) -> None:
        click_id = proven_click(edge)
        said, form = click_id.decode(), b"clickid=" + click_id
        asked, answered = {
            "click": (click(number), ("GET", 302, str(number))),
            "head": (click(number, method=b"HEAD"), ("HEAD", 302, str(number))),
            "body": (click(number, b"Content-Length: 9") + b"a\r\n\r\nbc\r\n", ("GET", 302, str(number))),
            "get": (request(POSTBACK + b"?" + form), ("GET", 200, said)),
            "post": (
                post(length(form), body=form),
                ("POST", 200, said),
            ),
            "json": (
                request(
                    POSTBACK,
                    b"Content-Type: application/json",
                    b"Transfer-Encoding: chunked",
                    method=b"POST",
                    body=chunked(b'{"clickid":', b'"%s"}' % click_id),
                ),
                ("POST", 200, said),
            ),
            "robots": (request(b"/robots.txt"), ("GET", 200, "Disallow")),
            "favicon": (request(b"/favicon.ico"), ("GET", 204, "")),
            "404": (request(b"/c/unknown"), ("GET", 404, "Not found")),
            "options": (request(method=b"OPTIONS"), ("OPTIONS", 204, "")),
            "405": (request(method=b"DELETE"), ("DELETE", 405, "")),
        }[kind]
        self.sent.append(asked)
        self.expected.append(answered)
        if kind in ("click", "head", "body"):
            self.clicks.append(number)
        elif answered[2] == said:
            self.postbacks.append(said)

    def check(self, answers: list[RawAnswer]) -> None:
        for answer, (_, status, told) in zip(answers, self.expected, strict=True):
            assert answer.status == status
            assert told in (answer.location if status == 302 else answer.body.decode())
            assert status != 302 or number_of(answer) == int(told)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [None, 3, 97], ids=lambda size: "whole" if size is None else f"by {size}")
def test_requests_of_every_kind_are_answered_in_order(edge: Edge, seed: int, size: int | None) -> None:
    mix = Mix(edge, seed)
    sent = b"".join(mix.sent)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        for piece in [sent] if size is None else pieces(sent, size):
            connection.send(piece)
        mix.check(connection.read_all([method for method, _, _ in mix.expected]))
    assert numbers(recorded.clicks) == mix.clicks
    assert [event["click_id"] for event in recorded.postbacks] == mix.postbacks


def test_a_thousand_requests_wait_for_a_client_that_reads_late(edge: Edge) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(b"".join(click(number) for number in range(1_000)))
        time.sleep(2)
        answers = connection.read_all(["GET"] * 1_000)
    assert [number_of(answer) for answer in answers] == list(range(1_000))
    assert numbers(recorded.clicks) == list(range(1_000))


def test_a_thousand_mixed_requests_are_all_answered(edge: Edge) -> None:
    mix = Mix(edge, seed=99, count=1_000)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(b"".join(mix.sent))
        mix.check(connection.read_all([method for method, _, _ in mix.expected]))
    assert numbers(recorded.clicks) == mix.clicks
    assert [event["click_id"] for event in recorded.postbacks] == mix.postbacks


@pytest.mark.parametrize("target", [LINK, POSTBACK + b"?clickid=x", b"/robots.txt", b"/c/unknown"], ids=bytes.decode)
def test_nothing_behind_a_request_that_asks_for_the_end_is_done(edge: Edge, target: bytes) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(click(1) + click(2) + request(target, CLOSE) + click(4) + click(5))
        answers = connection.read_all(["GET"] * 3)
        assert [answer.header("connection") for answer in answers] == [None, None, "close"]
        assert connection.end() is End.CLOSED
    assert len(recorded.clicks) == (3 if target == LINK else 2)


@pytest.mark.parametrize("option", [b"close", b"Close", b"keep-alive, close", b"close, x-other"], ids=bytes.decode)
def test_every_spelling_of_close_closes(edge: Edge, option: bytes) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(click(1, b"Connection: " + option) + click(2))
        assert connection.read().header("connection") == "close"
        assert connection.end() is End.CLOSED
    assert numbers(recorded.clicks) == [1]


def test_http_1_0_is_answered_once_and_closed(edge: Edge) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(click(1, version=b"HTTP/1.0") + click(2, version=b"HTTP/1.0"))
        assert number_of(connection.read()) == 1
        assert connection.end() is End.CLOSED
    assert numbers(recorded.clicks) == [1]


def test_http_1_0_with_keep_alive_is_kept_or_told_that_it_is_not(edge: Edge) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(click(1, KEEP_ALIVE, version=b"HTTP/1.0"))
        kept = connection.read().header("connection") == "keep-alive"
        if kept:
            connection.send(click(2, version=b"HTTP/1.0"))
            connection.read()
        assert connection.end() is End.CLOSED
    assert numbers(recorded.clicks) == ([1, 2] if kept else [1])


@pytest.mark.parametrize("count", [1, 50, 400])
def test_who_sends_no_more_still_gets_every_answer(edge: Edge, count: int) -> None:
    mix = Mix(edge, seed=7, count=count)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(b"".join(mix.sent))
        connection.half_close()
        mix.check(connection.read_all([method for method, _, _ in mix.expected]))
        assert connection.end() is End.CLOSED
    assert numbers(recorded.clicks) == mix.clicks
    assert [event["click_id"] for event in recorded.postbacks] == mix.postbacks


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /c/", request(LINK, b"Content-Length: 5", body=b"ab"), post(b"Content-Length: 50", body=b"clickid=")],
    ids=["nothing", "half a line", "half a body of a click", "half a body of a postback"],
)
def test_who_ends_in_the_middle_is_let_go_and_not_counted(edge: Edge, sent: bytes) -> None:
    """At the latest by the deadline of what is missing."""
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(click(1) + sent)
        assert number_of(connection.read()) == 1
        connection.half_close()
        started = time.monotonic()
        assert connection.end() is not End.OPEN
        assert time.monotonic() - started < 12
    assert numbers(recorded.clicks) == [1]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("count", [1, 30])
def test_clicks_of_a_client_that_is_gone_are_counted(edge: Edge, how: str, count: int) -> None:
    connection = Connection(edge.port)
    connection.send(click(1_000))
    connection.read()
    before = len(edge.clicks())
    connection.send(b"".join(click(number) for number in range(count)))
    if how == "abort":
        # a reset that overtakes the bytes in the kernel would take them away before the edge could see them
        time.sleep(0.05)
        connection.abort()
    else:
        connection.close()
    await_true(lambda: len(edge.clicks()) >= before + count, "every click is counted")
    time.sleep(0.2)
    assert numbers(edge.clicks()[before:]) == list(range(count))


BAD = {
    "no host": (request(host=None), 400),
    "two hosts": (request(LINK, b"Host: localhost"), 400),
    "version": (request(version=b"HTTP/2.0"), 505),
    "no request line": (b"nonsense\r\n\r\n", 400),
    "blank before the colon": (request(LINK, b"X : y"), 400),
    "folded": (request(LINK, b"X: y\r\n z"), 400),
    "NUL": (request(LINK, b"X: \x00"), 400),
    "length and chunks": (request(LINK, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "long url": (request(LINK + b"?" + b"x" * 9_000), 414),
    "long header": (request(LINK, b"X: " + b"y" * 9_000), 431),
    "many headers": (request(LINK, *[b"X: y"] * 120), 431),
    "bad chunk in a postback": (
        request(POSTBACK, b"Transfer-Encoding: chunked", method=b"POST", body=b"zz\r\n\r\n"),
        400,
    ),
}


@pytest.mark.parametrize("size", [None, 11], ids=lambda size: "whole" if size is None else f"by {size}")
@pytest.mark.parametrize("bad", BAD)
def test_what_came_before_a_bad_request_is_answered_and_nothing_behind_it(
    edge: Edge, bad: str, size: int | None
) -> None:
    refused, status = BAD[bad]
    mix = Mix(edge, seed=3, count=10)
    before, behind = b"".join(mix.sent), click(901) + click(902)
    with recording(edge) as recorded, Connection(edge.port) as connection:
        if size is None:
            connection.send(before + refused + behind)
        else:
            for piece in pieces(before, size):
                connection.send(piece)
            # until it is answered: these bytes may no longer be wanted
            connection.send(refused)
            connection.send(behind)
        mix.check(connection.read_all([method for method, _, _ in mix.expected]))
        answer = connection.read()
        assert (answer.status, answer.header("connection")) == (status, "close")
        assert connection.end() is not End.OPEN
    assert numbers(recorded.clicks) == mix.clicks
    assert [event["click_id"] for event in recorded.postbacks] == mix.postbacks


@pytest.mark.parametrize("place", ["first", "behind a blank line"])
def test_raw_high_bytes_in_a_query_are_taken_from_a_request_that_comes_whole(edge: Edge, place: str) -> None:
    odd = request(LINK + b"?sub1=7&utm_source=caf\xe9")
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send((b"\r\n" if place == "behind a blank line" else b"") + odd)
        answer = connection.read()
        assert answer.status == 302
        assert number_of(answer) == 7
        connection.send(click(8))
        assert number_of(connection.read()) == 8
    assert recorded.clicks[-2]["details"]["params"]["utm_source"] == "caf%E9"
