"""Latency at a constant rate: an open-loop client, run as its own process, that prints one line of JSON.

Requests leave when a schedule drawn beforehand says so (Poisson: independent visitors), whether or not earlier ones
were answered, and each is timed from the moment it was due. So a server that stalls is charged for everybody who came
meanwhile; a closed loop would stop asking and see one slow answer (coordinated omission).

The client never sleeps: timers of its loop have a grain of a millisecond, which is more than what is measured here.
Where others need its processor beside it, it sleeps between requests (`--sleeps`), on a slower loop whose timers are
finer. How late it was itself is part of the result: a run whose client was late says more about the client than the
server.

    python -m benchmarks.open_loop --port 8080 --rate 3000 --seconds 5
"""

import argparse
import asyncio
import gc
import math
import random
import selectors
import sys
import time
from collections import deque
from typing import Final, NamedTuple, Self, cast

import orjson
import uvloop

from benchmarks import traffic
from benchmarks.framing import Framing, Unframed

LATE_SECONDS: Final = 0.0003
"""A client whose 99th percentile of lateness is above this was too busy: its run is marked."""
ANSWER_SECONDS: Final = 5.0
"""How long the last answers are waited for."""
_SENT_AT_ONCE: Final = 16
"""Requests of one step of the loop at most; more are sent in the next, behind what has been answered meanwhile."""
_clock = time.perf_counter


class Latency(NamedTuple):
    """Milliseconds from when a request was due to when its answer was here. `late_p99`: the client's own part, from
    due to sent or queued for a connection; `queued`: requests that found every connection waiting for an answer;
    `bad`: answers other than 302, broken connections and answers that never came."""

    rate: float
    answers: int
    p50: float
    p99: float
    p999: float
    greatest: float
    late_p99: float
    queued: int
    bad: int

    @property
    def client_bound(self) -> bool:
        return self.late_p99 > LATE_SECONDS * 1000

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        return cls(**orjson.loads(line))


class Clients:
    """All connections, the schedule, and what was measured."""

    def __init__(
        self, port: int, due: list[float], requests: list[bytes], counted_from: float, *, sleeps: bool = False
    ) -> None:
        """`due` in seconds from the start, ascending; requests due before `counted_from` warm up. `sleeps`: until the
        next one is due, which the loop's timers have to be fine enough for."""
        self._port = port
        self._due = due
        self._requests = requests
        self._counted_from = counted_from
        self._sleeps = sleeps
        self._next = 0
        self._begin = 0.0
        self._connections: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._open = 0
        self._loop = asyncio.get_running_loop()
        self.finished = self._loop.create_future()
        self._all_lost = asyncio.Event()
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.queued = 0
        self.bad = 0

    async def connect(self, connections: int) -> None:
        for _ in range(connections):
            await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)

    async def close(self) -> None:
        """End all connections."""
        for connection in self._connections:
            connection.abort()
        if self._connections:
            await self._all_lost.wait()

    def start(self) -> None:
        self._begin = _clock() + 0.05
        self._loop.call_soon(self._send_due)

    def _send_due(self) -> None:
        due, number = self._due, self._next
        now = _clock() - self._begin
        last = min(number + _SENT_AT_ONCE, len(due))
        while number < last and due[number] <= now:
            if due[number] >= self._counted_from:
                self.lateness.append(now - due[number])
            if self._idle:
                self._idle.popleft().send(self._requests[number], due[number])
            else:
                self._waiting.append(number)
                self.queued += 1
            self._open += 1
            number += 1
            now = _clock() - self._begin
        self._next = number
        if number < len(due):
            ahead = self._begin + due[number] - _clock() if self._sleeps else 0.0
            if ahead > 0:
                self._loop.call_later(ahead, self._send_due)
            else:
                self._loop.call_soon(self._send_due)
        elif not self.finished.done():
            self._loop.call_later(ANSWER_SECONDS, self._finish)
            self._finish_when_answered()

    def opened(self, connection: "Connection") -> None:
        self._connections.add(connection)
        self._all_lost.clear()
        self.idle(connection)

    def idle(self, connection: "Connection") -> None:
        if self._waiting:
            number = self._waiting.popleft()
            connection.send(self._requests[number], self._due[number])
        else:
            self._idle.append(connection)

    def answered(self, due: float, status: bytes) -> None:
        if due >= self._counted_from:
            self.latencies.append(_clock() - self._begin - due)
        self.bad += status != b"302"
        self._open -= 1
        self._finish_when_answered()

    def lost(self, connection: "Connection", asked: bool) -> None:
        """A connection ended; while there is something to ask, another takes its place."""
        self._connections.discard(connection)
        if not self._connections:
            self._all_lost.set()
        if asked:
            self.bad += 1
            self._open -= 1
        elif connection in self._idle:
            self._idle.remove(connection)
        if not self.finished.done():
            self._loop.create_task(self.connect(1))
            self._finish_when_answered()

    def _finish_when_answered(self) -> None:
        if self._open == 0 and self._next == len(self._due):
            self._finish()

    def _finish(self) -> None:
        if not self.finished.done():
            self.bad += self._open
            self.finished.set_result(None)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request open."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._framing = Framing()
        self._transport: asyncio.Transport | None = None
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are, without being subclasses
        self._clients.opened(self)

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            statuses = self._framing.feed(data)
            if len(statuses) > (self._due is not None):
                raise Unframed("an answer that nobody asked for")
        except Unframed as error:
            print(f"open loop: {error}", file=sys.stderr)
            return self.abort()
        if statuses:
            due, self._due = self._due, None
            assert due is not None
            self._clients.answered(due, statuses[0])
            self._clients.idle(self)

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._clients.lost(self, self._due is not None)


def percentile(ascending: list[float], share: float) -> float:
    """The least value that `share` of all values do not exceed; 0 without values."""
    return ascending[max(0, math.ceil(len(ascending) * share - 1e-9) - 1)] if ascending else 0.0


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process."""
    draw, moment, due = random.Random(seed), 0.0, []
    while (moment := moment + draw.expovariate(rate)) < seconds:
        due.append(moment)
    return due


async def measure(
    port: int, rate: float, seconds: float, warm_up: float, connections: int, campaigns: int, *, sleeps: bool = False
) -> Latency:
    seed = random.SystemRandom().randrange(1 << 31)
    due = schedule(rate, warm_up + seconds, seed)
    clients = Clients(port, due, traffic.requests(len(due), campaigns, port, seed), warm_up, sleeps=sleeps)
    await clients.connect(connections)
    gc.collect()
    gc.freeze()
    gc.disable()
    clients.start()
    await clients.finished
    await clients.close()
    latencies, lateness = sorted(clients.latencies), sorted(clients.lateness)
    return Latency(
        rate=rate,
        answers=len(latencies),
        p50=percentile(latencies, 0.5) * 1000,
        p99=percentile(latencies, 0.99) * 1000,
        p999=percentile(latencies, 0.999) * 1000,
        greatest=percentile(latencies, 1.0) * 1000,
        late_p99=percentile(lateness, 0.99) * 1000,
        queued=clients.queued,
        bad=clients.bad,
    )


def _fine_loop() -> asyncio.AbstractEventLoop:
    """Its timers are those of select(2): some 50 µs, where epoll's are a millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds at the same rate that are not counted")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--campaigns", type=int, default=1)
    parser.add_argument("--sleeps", action="store_true", help="leave the processor to others between requests")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=_fine_loop if given.sleeps else uvloop.new_event_loop) as runner:
        found = runner.run(
            measure(
                given.port, given.rate, given.seconds, given.warm_up, given.connections, given.campaigns,
                sleeps=given.sleeps,
            )
        )  # fmt: skip
    print(orjson.dumps(found._asdict()).decode())


if __name__ == "__main__":
    main()
