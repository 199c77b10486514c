"""Covers the open-loop client: its schedule, its percentiles, and that it charges a stall to everybody who came
meanwhile. Framing: test_framing.py."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks import traffic
from benchmarks.open_loop import Clients, percentile, schedule
from benchmarks.wrk import read

FOUND = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: https://shop.example/\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"
Answering = Callable[[int, asyncio.Transport], None]
"""Answers the request of this number, counted from 0."""


class Peer(asyncio.Protocol):
    """A server whose requests come one to a segment, as the client's do."""

    def __init__(self, answer: Answering, numbers: list[int]) -> None:
        self._answer = answer
        self._numbers = numbers
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        *requests, self._received = self._received.split(b"\r\n\r\n")
        for request in requests:
            assert request.startswith(b"GET /c/")
            self._numbers.append(len(self._numbers))
            self._answer(self._numbers[-1], self._transport)


@asynccontextmanager
async def peer(answer: Answering) -> AsyncIterator[int]:
    """The port on which `answer` answers."""
    numbers: list[int] = []
    server = await asyncio.get_running_loop().create_server(lambda: Peer(answer, numbers), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def run(
    port: int, due: list[float], *, connections: int, counted_from: float = 0.0, sleeps: bool = False
) -> Clients:
    clients = Clients(port, due, traffic.requests(len(due), 10, port, seed=1), counted_from, sleeps=sleeps)
    await clients.connect(connections)
    clients.start()
    await asyncio.wait_for(clients.finished, 30)
    await clients.close()
    return clients


def at_once(number: int, transport: asyncio.Transport) -> None:
    transport.write(FOUND)


@pytest.mark.parametrize("sleeps", [False, True], ids=["never sleeps", "sleeps"])
async def test_every_request_is_sent_and_answered_once(sleeps: bool) -> None:
    async with peer(at_once) as port:
        clients = await run(port, schedule(1000, 0.4, seed=3), connections=8, sleeps=sleeps)
    assert len(clients.latencies) == len(clients.lateness) == len(schedule(1000, 0.4, seed=3))
    assert clients.bad == 0


async def test_a_client_that_sleeps_leaves_its_processor_to_others() -> None:
    due = [number / 20 for number in range(20)]
    async with peer(at_once) as port:
        used = time.process_time()
        clients = await run(port, due, connections=2, sleeps=True)
    assert clients.bad == 0
    # One that never sleeps uses all of the second.
    assert time.process_time() - used < 0.5


async def test_requests_of_the_warm_up_are_not_counted() -> None:
    async with peer(at_once) as port:
        clients = await run(port, [0.0, 0.01, 0.2, 0.21, 0.22], connections=4, counted_from=0.1)
    assert len(clients.latencies) == len(clients.lateness) == 3


async def test_a_stall_is_charged_to_everybody_who_came_meanwhile() -> None:
    def stalling(number: int, transport: asyncio.Transport) -> None:
        if number == 0:
            asyncio.get_running_loop().call_later(0.5, transport.write, FOUND)
        else:
            transport.write(FOUND)

    due = [number / 100 for number in range(50)]
    # One connection: all but the first find it waiting, and a closed loop would see one slow answer.
    async with peer(stalling) as port:
        clients = await run(port, due, connections=1)
    assert clients.queued >= 45
    assert len(clients.latencies) == 50
    # The request due at 0.25 s cannot have been answered before the stall's end at 0.5 s.
    assert sum(latency > 0.2 for latency in clients.latencies) >= 25


async def test_refused_answers_and_broken_connections_are_bad() -> None:
    def answer(number: int, transport: asyncio.Transport) -> None:
        if number == 2:
            transport.abort()
        else:
            transport.write(GONE if number == 5 else FOUND)

    async with peer(answer) as port:
        clients = await run(port, [number / 50 for number in range(20)], connections=2)
    assert clients.bad == 2
    assert len(clients.latencies) == 19


def test_the_schedule_is_a_poisson_process() -> None:
    due = schedule(2000, 20, seed=7)
    gaps = [later - earlier for earlier, later in zip([0.0, *due], due, strict=False)]
    assert due == sorted(due)
    assert due[-1] < 20
    assert len(due) == pytest.approx(40_000, rel=0.03)
    # What tells it from an even beat: the gaps spread as far as they are long.
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)], ids=["p50", "p99", "p99.9", "most"]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_without_values_there_is_no_percentile() -> None:
    assert percentile([], 0.5) == 0


def test_requests_differ_in_sub_id_and_ask_for_loaded_campaigns_only() -> None:
    sent = traffic.requests(500, 3, 8080, seed=1)
    lines = [request.split(b"\r\n", 1)[0] for request in sent]
    assert len(set(lines)) == 500
    assert {line[len(b"GET /c/") :].partition(b"?")[0].decode() for line in lines} == {
        row.uuid for row in traffic.rows(3)
    }


def test_what_wrk_printed_is_read() -> None:
    printed = (
        "Running 2s test @ http://127.0.0.1:8080/\n  1 threads and 64 connections\n"
        "  12345 requests in 2.10s, 3.00MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n"
        "  Non-2xx or 3xx responses: 7\nRequests/sec:   5878.57\nTransfer/sec:      1.43MB\n"
    )
    outcome = read(printed)
    assert (outcome.answers, outcome.bad, outcome.errors, outcome.seconds) == (12345, 7, 10, 2.1)
