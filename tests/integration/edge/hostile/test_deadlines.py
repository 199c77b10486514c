"""Connections that take their time: closed within 5 s for a head, 10 s for a body, 30 s for answers that nobody reads,
10 s for nothing at all (api.md section 6); and honest slowness, which is served.

All of them run at once against one edge, so that the file takes little longer than the longest wait. A deadline is
awaited with SLACK seconds more, never measured. Many slow connections beside good clients: test_connections.py.
"""

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psutil
import pytest

from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import FORM, LINK, POSTBACK, length, post, proven_click, request
from tests.integration.edge.raw import Connection, End

HEAD, BODY, READ, IDLE = 5.0, 10.0, 30.0, 10.0
SLACK = 2.0
LARGE = request(LINK + b"?sub1=" + b"%3C" * 1_000)
"""Its answer is as large as itself."""


def seconds_until_end(connection: Connection, limit: float) -> float:
    """How long until the server ends the connection; more than `limit` when it does not. An answer on the way is
    allowed: 408, or the one that the request had earned."""
    started = time.monotonic()
    while time.monotonic() - started < limit:
        if connection.receives(0.2):
            try:
                connection.read()
            except AssertionError:
                return time.monotonic() - started
    return limit + 1


def dribbled(connection: Connection, pieces: Iterator[bytes], pause: float, limit: float) -> float:
    """How long the server lets the client send on like this."""
    started = time.monotonic()
    while time.monotonic() - started < limit:
        if not connection.send_pieces([next(pieces)], pause):
            return time.monotonic() - started + min(seconds_until_end(connection, SLACK), SLACK)
    return limit + 1


def endless(before: bytes, again: bytes) -> Iterator[bytes]:
    return itertools.chain([before], itertools.repeat(again))


def slow_head(
    again: bytes, before: bytes = b"GET " + LINK + b" HTTP/1.1\r\nHost: localhost\r\n"
) -> Callable[[Edge], float]:
    def run(edge: Edge) -> float:
        with Connection(edge.port) as connection:
            return dribbled(connection, endless(before, again), 0.4, HEAD + SLACK)

    return run


def stalled(sent: bytes, answers: int, limit: float) -> Callable[[Edge], float]:
    """After `answers` answers to `sent`, nothing more is sent."""

    def run(edge: Edge) -> float:
        with Connection(edge.port) as connection:
            connection.send(sent)
            for _ in range(answers):
                connection.read()
            return seconds_until_end(connection, limit + SLACK)

    return run


def slow_body(
    line: bytes, again: bytes, *, begin: bytes = b"", target: bytes = POSTBACK, method: bytes = b"POST"
) -> Callable[[Edge], float]:
    def run(edge: Edge) -> float:
        with Connection(edge.port) as connection:
            before = request(target, FORM, line, method=method, body=begin)
            return dribbled(connection, endless(before, again), 0.4, BODY + SLACK)

    return run


def held_by(edge: Edge, port: int) -> bool:
    """Whether the worker still has its end of the connection from `port`."""
    connections = psutil.Process(edge.worker_pid()).net_connections("tcp")
    return any(held.raddr and held.raddr.port == port for held in connections)


def unread(*, bytes_a_second: int) -> Callable[[Edge], float]:
    """A client that asks for as much as the server takes and reads nothing, or next to nothing."""

    def run(edge: Edge) -> float:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", edge.port))
            port = client.getsockname()[1]
            client.settimeout(1.0)
            rest = b""
            full_at = None
            while full_at is None:
                rest = rest or LARGE * 16
                try:
                    rest = rest[client.send(rest) :]
                except TimeoutError:
                    full_at = time.monotonic()
            while held_by(edge, port) and time.monotonic() - full_at < READ + SLACK:
                time.sleep(0.5)
                try:
                    client.recv(bytes_a_second // 2 or 1, 0 if bytes_a_second else socket.MSG_PEEK)
                except ConnectionResetError:
                    break
            return time.monotonic() - full_at

    return run


CASES: dict[str, tuple[Callable[[Edge], float], float]] = {
    "head, byte by byte within a header": (slow_head(b"x", b"GET " + LINK + b" HTTP/1.1\r\nHost: localhost\r\nX: "), HEAD),
    "head, header by header": (slow_head(b"X: y\r\n"), HEAD),
    "head, byte by byte within the url": (slow_head(b"x", b"GET " + LINK + b"?"), HEAD),
    "head, byte by byte within the verb": (slow_head(b"G", b""), HEAD),
    "head, stalled behind the first byte": (stalled(b"G", 0, HEAD), HEAD),
    "head, stalled before its last byte": (stalled(request()[:-1], 0, HEAD), HEAD),
    "head, stalled after an answer": (stalled(request() + b"GET /c/", 1, HEAD), HEAD),
    "head, stalled after a page": (stalled(request(b"/robots.txt") + b"GET /c/", 1, HEAD), HEAD),
    "blank lines for ever": (slow_head(b"\r\n", b"\r\n"), IDLE),
    "body, byte by byte": (slow_body(b"Content-Length: 1000", again=b"x"), BODY),
    "body, chunk by chunk": (slow_body(b"Transfer-Encoding: chunked", again=b"1\r\nx\r\n"), BODY),
    "body, trailer by trailer": (slow_body(b"Transfer-Encoding: chunked", again=b"X: y\r\n", begin=b"0\r\n"), BODY),
    "body, none comes": (stalled(request(POSTBACK, FORM, b"Content-Length: 9", method=b"POST"), 0, BODY), BODY),
    "body of a click, byte by byte": (slow_body(b"Content-Length: 1000", again=b"x", target=LINK, method=b"GET"), BODY),
    "body of a click, none comes": (stalled(request(LINK, b"Content-Length: 9"), 0, BODY), BODY),
    "body of an unknown page": (slow_body(b"Content-Length: 1000", again=b"x", target=b"/elsewhere"), BODY),
    "body, continued but not sent": (
        stalled(request(POSTBACK, FORM, b"Expect: 100-continue", b"Content-Length: 9", method=b"POST"), 1, BODY),
        BODY,
    ),
    "idle from the beginning": (stalled(b"", 0, IDLE), IDLE),
    "idle after a blank line": (stalled(b"\r\n", 0, IDLE), IDLE),
    "idle after a click": (stalled(request(), 1, IDLE), IDLE),
    "idle after fifty clicks": (stalled(request() * 50, 50, IDLE), IDLE),
    "idle after a page": (stalled(request(b"/robots.txt"), 1, IDLE), IDLE),
    "idle after a postback": (stalled(request(POSTBACK + b"?clickid=x"), 1, IDLE), IDLE),
    "idle after a refused connection's answer": (stalled(b"nonsense\r\n\r\n", 1, IDLE), IDLE),
    "answers unread": (unread(bytes_a_second=0), READ),
    "answers read byte by byte": (unread(bytes_a_second=2), READ),
}  # fmt: skip


def patient_head(edge: Edge) -> int:
    """A head that takes 2 s."""
    with Connection(edge.port) as connection:
        for piece in (b"GET " + LINK, b" HTTP/1.1\r\nHo", b"st: localhost", b"\r\n\r", b"\n"):
            connection.send(piece)
            time.sleep(0.5)
        return connection.read().status


def patient_body(edge: Edge) -> int:
    """A body that takes 5 s, longer than a head may."""
    body = b"clickid=" + proven_click(edge)
    with Connection(edge.port) as connection:
        connection.send(post(length(body), body=b""))
        for start in range(0, len(body), 5):
            time.sleep(0.5)
            connection.send(body[start : start + 5])
        return connection.read("POST").status


def patient_visitor(edge: Edge) -> int:
    """Clicks for 16 s on one connection, with 4 s between them."""
    with Connection(edge.port) as connection:
        for _ in range(4):
            connection.send(request())
            assert connection.read().status == 302
            time.sleep(4)
        connection.send(request())
        return connection.read().status


def patient_reader(edge: Edge) -> int:
    """A hundred answers of 3 KB, read over 8 s through a small window."""
    with Connection(edge.port, receive_buffer=4_096) as connection:
        connection.send(LARGE * 100)
        for _ in range(80):
            assert connection.read().status == 302
            time.sleep(0.1)
        return connection.read_all(["GET"] * 20)[-1].status


PATIENT: dict[str, tuple[Callable[[Edge], int], int]] = {
    "a head of 2 s": (patient_head, 302),
    "a body of 5 s": (patient_body, 200),
    "a click every 4 s": (patient_visitor, 302),
    "answers read over 8 s": (patient_reader, 302),
}


class Waits:
    """Every case, begun at once."""

    def __init__(self, edge: Edge, pool: ThreadPoolExecutor) -> None:
        self.seconds: dict[str, Future[float]] = {name: pool.submit(run, edge) for name, (run, _) in CASES.items()}
        self.statuses: dict[str, Future[int]] = {name: pool.submit(run, edge) for name, (run, _) in PATIENT.items()}


@pytest.fixture(scope="module")
def waits(edge: Edge) -> Iterator[Waits]:
    with ThreadPoolExecutor(len(CASES) + len(PATIENT)) as pool:
        yield Waits(edge, pool)


@pytest.mark.parametrize("case", CASES)
def test_who_takes_too_long_is_closed(waits: Waits, case: str) -> None:
    assert waits.seconds[case].result() <= CASES[case][1] + SLACK


@pytest.mark.parametrize("case", PATIENT)
def test_who_is_slow_but_honest_is_served(waits: Waits, case: str) -> None:
    assert waits.statuses[case].result() == PATIENT[case][1]


def test_none_of_them_left_a_postback_and_only_finished_clicks_are_counted(edge: Edge, waits: Waits) -> None:
    for run in waits.statuses.values():
        run.result()
    for wait in waits.seconds.values():
        wait.result()
    assert len(edge.postbacks()) == 1, "the patient one"


def test_nothing_is_left_of_them(edge: Edge, waits: Waits) -> None:
    """Not a single connection is still held by the worker."""
    for wait in waits.seconds.values():
        wait.result()
    time.sleep(SLACK)
    listening = {edge.port}
    held = [
        connection
        for connection in psutil.Process(edge.worker_pid()).net_connections("tcp")
        if connection.raddr and connection.laddr.port in listening
    ]
    assert held == []


def test_the_idle_end_is_no_reset(edge: Edge) -> None:
    """A browser that sends at that moment must be able to tell that nothing was lost."""
    with Connection(edge.port) as connection:
        connection.send(request())
        connection.read()
        assert connection.end(IDLE + SLACK) is End.CLOSED
