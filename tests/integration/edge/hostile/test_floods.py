"""Strangers who send without end: refused before the end, and neither the worker's memory nor its log grows with what
they send (api.md section 6; design section 7: bounded memory everywhere, strangers cannot fill the disk).

The limits themselves: test_headers.py, test_bodies.py. Answers unread for too long: test_deadlines.py.
"""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import (
    CHUNKED,
    LINK,
    ask_once,
    length,
    pieces,
    post,
    recording,
    request,
)
from tests.integration.edge.raw import Connection, End

MEGABYTE = 1 << 20
CONNECTIONS = 8
ROOM = 24 * MEGABYTE
"""What the worker may grow by meanwhile: far more than its buffers, far less than what is sent."""


@contextmanager
def flat_memory(edge: Edge) -> Iterator[None]:
    """The block leaves the worker no larger, whoever is still connected."""
    worker = psutil.Process(edge.worker_pid())
    before = worker.memory_info().rss
    yield
    assert worker.memory_info().rss - before < ROOM


def flood(edge: Edge, begin: bytes, more: bytes, size: int) -> tuple[int, bool]:
    """Send `begin` and then `more` again and again, `size` bytes in all, until it is answered or closed; gives the
    status, and whether all could be sent."""
    with Connection(edge.port) as connection:
        connection.send(begin)
        all_sent = connection.send_pieces(more for _ in range(size // len(more)))
        return connection.read().status, all_sent


@pytest.mark.parametrize(
    ("begin", "more", "statuses"),
    [
        pytest.param(b"GET " + LINK + b"?", b"x" * 16_384, (414,), id="url"),
        pytest.param(request()[:-2] + b"X: ", b"y" * 16_384, (431,), id="header value"),
        pytest.param(request()[:-2], b"y" * 16_384, (431,), id="header name"),
        pytest.param(request()[:-2], b"X: y\r\n" * 2_700, (431,), id="headers"),
        pytest.param(request()[:-2] + b"X:", b" " * 16_384, (431,), id="blanks before a value"),
        pytest.param(post(CHUNKED, body=b"5;"), b"e" * 16_384, (400, 413, 431), id="chunk extension"),
        pytest.param(post(CHUNKED, body=b"0\r\n"), b"X: y\r\n" * 2_700, (400, 413, 431), id="trailers"),
        pytest.param(post(CHUNKED, body=b"0\r\nX: "), b"y" * 16_384, (400, 413, 431), id="trailer"),
        pytest.param(post(CHUNKED, body=b""), b"1;eeeeeeee\r\nx\r\n" * 1_000, (400, 413), id="chunks of a byte"),
        pytest.param(post(CHUNKED, body=b""), b"4000\r\n" + b"x" * 16_384 + b"\r\n", (413,), id="chunks"),
        pytest.param(
            request(LINK, CHUNKED, body=b"0\r\n"), b"X: y\r\n" * 2_700, (302, 400, 413, 431), id="trailers of a click"
        ),
        pytest.param(request(LINK, CHUNKED, body=b"5;"), b"e" * 16_384, (302, 400, 413, 431), id="extension of a click"),
        pytest.param(
            request(b"/robots.txt", CHUNKED, body=b"0\r\n"), b"X: y\r\n" * 2_700, (200, 400, 413, 431),
            id="trailers of a page",
        ),
    ],
)  # fmt: skip
def test_what_never_ends_is_refused_and_not_kept(
    edge: Edge, begin: bytes, more: bytes, statuses: tuple[int, ...]
) -> None:
    """Eight at once, 8 MB each, again and again. The first eight may fill what is filled but once."""

    def eight_at_once() -> list[tuple[int, bool]]:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            floods = [pool.submit(flood, edge, begin, more, 8 * MEGABYTE) for _ in range(CONNECTIONS)]
        return [flooding.result() for flooding in floods]

    with recording(edge) as recorded:
        ended = eight_at_once()
        with flat_memory(edge):
            for _ in range(4):
                ended += eight_at_once()
    assert {status for status, _ in ended} <= set(statuses)
    assert not any(all_sent for _, all_sent in ended), "it was let run to its end"
    assert len(recorded.clicks) == sum(status == 302 for status, _ in ended)
    assert recorded.postbacks == []


def test_large_bodies_are_not_kept(edge: Edge) -> None:
    body = b"clickid=" + b"x" * MEGABYTE
    with recording(edge) as recorded, flat_memory(edge):
        for _ in range(50):
            assert ask_once(edge, post(length(body), body=body), "POST").status == 413
    assert recorded.all == []


def test_bodies_that_stop_half_way_are_not_kept(edge: Edge) -> None:
    """200 at once, each just below the limit."""
    connections = [Connection(edge.port) for _ in range(200)]
    with flat_memory(edge):
        for connection in connections:
            connection.send(post(b"Content-Length: 16384", body=b"x" * 16_000))
        assert edge.get(LINK.decode()).status == 302
    for connection in connections:
        connection.close()


def asking_without_reading(edge: Edge, count: int, seconds: float) -> None:
    """`count` clients ask as fast as the edge takes it, for answers of 3 KB, and read none."""
    large = request(LINK + b"?sub1=" + b"%3C" * 1_000) * 50
    clients = [socket.socket() for _ in range(count)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", edge.port))
        client.setblocking(False)
    rests = [large] * count
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for place, client in enumerate(clients):
            try:
                rests[place] = rests[place][client.send(rests[place]) :] or large
            except BlockingIOError:
                time.sleep(0.01)
    assert edge.get(LINK.decode()).status == 302
    for client in clients:
        client.close()


def test_answers_that_nobody_reads_are_not_made(edge: Edge) -> None:
    """Soon the edge reads no more requests of such a client, and waits for it in little memory."""
    asking_without_reading(edge, 4, 4)
    with flat_memory(edge):
        asking_without_reading(edge, 4, 8)


def test_new_hosts_agents_and_addresses_for_ever_are_not_kept(edge: Edge) -> None:
    """Whatever is remembered by its text is remembered within bounds."""
    pad = b"z" * 500
    with flat_memory(edge), Connection(edge.port) as connection:
        for start in range(0, 20_000, 100):
            connection.send(
                b"".join(
                    request(
                        b"/c/%d" % number if number % 2 else LINK,
                        b"User-Agent: agent %d " % number + pad,
                        b"Referer: https://site-%d.example/" % number + pad,
                        b"Accept-Language: x%d" % number,
                        b"X-Forwarded-For: 2001:db8::%x" % number,
                        host=b"localhost" if number % 2 else b"%d.localhost" % number,
                    )
                    for number in range(start, start + 100)
                )
            )
            connection.read_all(["GET"] * 100)


def test_a_refusal_leaves_hardly_a_trace_in_the_log(edge: Edge) -> None:
    """A line for each would let a stranger fill the disk."""
    before = len(edge.log())
    for _ in range(100):
        for sent in (b"nonsense\r\n\r\n", request(b"/?\x00"), request(LINK, b"X : y"), request(host=None)):
            assert ask_once(edge, sent).status == 400
    assert len(edge.log()) - before < 2_000


def test_connections_that_only_come_and_go_are_forgotten(edge: Edge) -> None:
    worker = psutil.Process(edge.worker_pid())
    open_before = worker.num_fds()
    with flat_memory(edge):
        for number in range(2_000):
            connection = Connection(edge.port)
            if number % 3:
                connection.send(request()[: number % 60])
            (connection.abort if number % 2 else connection.close)()
    assert edge.get(LINK.decode()).status == 302
    time.sleep(3)
    assert worker.num_fds() < open_before + 10


def test_a_dribbled_header_of_megabytes_is_cut_off(edge: Edge) -> None:
    """In small pieces with pauses, as from a slow line: the size counts, not the speed."""
    with recording(edge) as recorded, Connection(edge.port) as connection:
        sent_all = connection.send_pieces(pieces(request()[:-2] + b"X: " + b"y" * 200_000, 500), pause=0.001)
        assert not sent_all
        assert connection.read().status == 431
        assert connection.end() is not End.OPEN
    assert recorded.all == []
