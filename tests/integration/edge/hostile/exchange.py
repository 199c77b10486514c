"""How the hostile tests speak and judge: requests as bytes, what was journaled meanwhile, and what makes a refusal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared import events
from shared.events import Event
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge, journaled
from tests.integration.edge.raw import Connection, End, RawAnswer

LINK = f"/c/{rows.ACTIVE.uuid}".encode()
POSTBACK = b"/api/v1/postback"
FORM = b"Content-Type: application/x-www-form-urlencoded"
CHUNKED = b"Transfer-Encoding: chunked"
PIECE = 3
"""Bytes of one piece where a request is sent in pieces: no boundary of a request is a boundary of a read."""


def request(
    target: bytes = LINK,
    *lines: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
    host: bytes | None = b"localhost",
    body: bytes = b"",
) -> bytes:
    """A request with these header lines after its Host; `body` follows them as it is."""
    head = [method + b" " + target + b" " + version]
    if host is not None:
        head.append(b"Host: " + host)
    return b"\r\n".join((*head, *lines, b"", b"")) + body


def proven_click(edge: Edge) -> bytes:
    """A click id of 5 s ago that the edge takes for its own, of ACTIVE."""
    return edge.click_ids().issue(rows.ACTIVE.id, time.time_ns() // 1_000_000 - 5_000).encode()


def post(*lines: bytes, body: bytes) -> bytes:
    """A postback whose body is a form; the lines say how long it is."""
    return request(POSTBACK, FORM, *lines, method=b"POST", body=body)


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def pieces(sent: bytes, size: int = PIECE) -> list[bytes]:
    return [sent[start : start + size] for start in range(0, len(sent), size)]


class Recorded:
    """What a block of a test left in the journal, once the block has ended."""

    def __init__(self) -> None:
        self.all: list[tuple[int, Event]] = []

    @property
    def clicks(self) -> list[Event]:
        return [event for kind, event in self.all if kind == events.CLICK]

    @property
    def postbacks(self) -> list[Event]:
        return [event for kind, event in self.all if kind == events.POSTBACK]


@contextmanager
def recording(edge: Edge) -> Iterator[Recorded]:
    """Everything journaled from here to the end of the block. A click behind the block is the fence: a stream is in
    order, so what the block journaled stands before it; and the edge still serves."""
    before = len(journaled(edge.data_dir.journal))
    recorded = Recorded()
    yield recorded
    assert edge.get(f"{LINK.decode()}?t=fence").status == 302
    *recorded.all, (_, fence) = journaled(edge.data_dir.journal)[before:]
    assert fence["details"]["params"]["t"] == "fence"


def ask_once(edge: Edge, sent: bytes, method: str = "GET") -> RawAnswer:
    """The first answer to these bytes on a connection of their own."""
    with Connection(edge.port) as connection:
        connection.send(sent)
        return connection.read(method)


def assert_refused(edge: Edge, sent: bytes, *statuses: int, piece: int = PIECE) -> None:
    """The bytes are answered once, with one of `statuses`, readably, and the connection is closed; whole and in
    pieces alike; nothing is journaled."""
    with recording(edge) as recorded:
        with Connection(edge.port) as connection:
            connection.send(sent)
            answer = connection.read()
            assert answer.status in statuses, answer
            assert answer.header("connection") == "close"
            assert connection.end() is End.CLOSED
        with Connection(edge.port) as connection:
            connection.send_pieces(pieces(sent, piece))
            assert connection.read().status in statuses
            assert connection.end() is not End.OPEN
    assert recorded.all == []


def assert_plain(answer: RawAnswer) -> None:
    """A malformed request's answer is plain text and says nothing of the program."""
    assert (answer.header("content-type") or "").startswith("text/plain")
    assert 0 < len(answer.body) < 200


def click(edge: Edge, target: bytes, *lines: bytes, source: str = "127.0.0.1") -> tuple[RawAnswer, Event]:
    """The answer to a click, a 302, and its event."""
    with recording(edge) as recorded, Connection(edge.port, source=source) as connection:
        connection.send(request(target, *lines))
        answer = connection.read()
    assert answer.status == 302
    (event,) = recorded.clicks
    return answer, event
