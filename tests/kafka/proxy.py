"""A TCP proxy between a client and a broker: the faults of a network, made for real and switched while it runs.

It works in a thread of its own, so a test's blocked loop does not hold it up. A Kafka client goes where the broker
says it is: `with broker.proxy() as proxy` listens where the broker's second listener advertises itself.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self, TypeVar

_CHUNK: Final = 1 << 16
_SECONDS: Final = 10.0
_T = TypeVar("_T")


class Fault(Enum):
    NONE = "none"
    STALL = "stall"
    """Nothing passes in either direction and nothing is lost: `heal` delivers it. A cable out and in again."""
    BLACK_HOLE = "black hole"
    """Connections are accepted and everything sent is swallowed, in both directions."""
    LOSE_ANSWERS = "lose answers"
    """What the client sends arrives; what the broker answers is swallowed: it stores, and the client does not know."""
    REFUSE = "refuse"
    """Open connections are reset, new ones at once as well."""


class Direction:
    """One half of a connection."""

    def __init__(self, *swallowed_under: Fault) -> None:
        self.swallowed_under = swallowed_under
        self.lost = False
        """Something was swallowed; so is the rest, since a stream with a hole in it is none."""


class Connection:
    """One client's connection and the one to the broker that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.broker: asyncio.StreamWriter | None = None
        self.requests = Direction(Fault.BLACK_HOLE)
        self.answers = Direction(Fault.BLACK_HOLE, Fault.LOSE_ANSWERS)

    @property
    def spoilt(self) -> bool:
        return self.requests.lost or self.answers.lost

    def lose_broker(self) -> None:
        self.requests.lost = self.answers.lost = True
        if self.broker is not None:
            self.broker.close()

    def reset(self) -> None:
        for writer in (self.client, self.broker):
            if writer is not None:
                _reset(writer)


class Proxy:
    """Passes 127.0.0.1:`port` (0: any free one, then known as `port`) on to 127.0.0.1:`upstream`. A context manager."""

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream, self.port = upstream, port
        self._fault = Fault.NONE
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay = 0.0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        """What clients take as bootstrap server."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return self._call(lambda: len(self._connections))

    def delay(self, seconds: float) -> None:
        """Hold every piece back this long, in each direction, from now on; 0 ends it."""
        self._call(lambda: setattr(self, "_delay", seconds))

    def set(self, fault: Fault) -> None:
        """From now on, for open and new connections."""

        def change() -> None:
            self._change(fault)
            if fault is Fault.REFUSE:
                self._reset_all()

        self._call(change)

    def heal(self) -> None:
        """No fault and no delay. Connections from which bytes were swallowed are reset: they cannot go on."""

        def change() -> None:
            self._change(Fault.NONE)
            self._delay = 0.0
            for connection in [one for one in self._connections if one.spoilt]:
                connection.reset()

        self._call(change)

    def reset(self) -> None:
        """Reset (RST) the connections that are open now; new ones pass."""
        self._call(self._reset_all)

    def half_open(self) -> None:
        """The broker's side of the open connections ends, and clients are not told: as when its machine loses power.

        What those clients send is swallowed until `heal` or `reset`; new connections pass.
        """

        def change() -> None:
            for connection in self._connections:
                connection.lose_broker()

        self._call(change)

    def __enter__(self) -> Self:
        self._thread.start()
        server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._server = server
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        self._change(Fault.NONE)
        self._reset_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SECONDS)

    def _reset_all(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(client)
        self._connections.add(connection)
        answering: asyncio.Task[None] | None = None
        try:
            # The broker refuses or one side is reset: then so is the other.
            with suppress(OSError):
                if self._fault is Fault.REFUSE:
                    return
                if self._fault is Fault.BLACK_HOLE:
                    connection.lose_broker()
                else:
                    answers, connection.broker = await asyncio.open_connection("127.0.0.1", self.upstream)
                    answering = asyncio.create_task(self._answer(connection, answers))
                await self._pass_on(reader, connection.broker, connection.requests)
        finally:
            if answering is not None:
                answering.cancel()
            connection.reset()
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _answer(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        """Pass on what the broker says; its end is the client's, unless a fault hides it."""
        answers = connection.answers
        with suppress(OSError):
            await self._pass_on(reader, connection.client, answers)
        await self._flows.wait()
        answers.lost = answers.lost or self._fault in answers.swallowed_under
        if not answers.lost:
            connection.client.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, direction: Direction
    ) -> None:
        """Until `reader` ends."""
        while piece := await reader.read(_CHUNK):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flows.wait()
            direction.lost = direction.lost or self._fault in direction.swallowed_under
            if writer is not None and not direction.lost:
                writer.write(piece)
                await writer.drain()

    def _change(self, fault: Fault) -> None:
        self._fault = fault
        if fault is Fault.STALL:
            self._flows.clear()
        else:
            self._flows.set()

    def _call(self, change: Callable[[], _T]) -> _T:
        async def run() -> _T:
            return change()

        return self._run(run())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what is on its way is gone."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
