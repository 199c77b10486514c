"""The HTTP server as the edge runs it, for the public port and the admin port alike."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn

BACKLOG: Final = 2048
DRAIN_SECONDS: Final = 10
"""How long open requests may take when the edge ends."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process by the signal instead of in order, and
    with an end that takes what stands in the accept queue: closing the last copy of a listening socket resets it."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            await self._take_queued(listener)
        await super().shutdown(sockets)

    async def _take_queued(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # No more than the queue can have held: those who come meanwhile would keep a worker from its end.
        for _ in range(BACKLOG):
            try:
                connection, _peer = listener.accept()
            except OSError:
                return  # the queue is empty
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
