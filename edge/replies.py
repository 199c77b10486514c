"""Places in a connection's queue of answers, and how a cycle of uvicorn's ends its connection."""

import asyncio
from typing import Protocol

from edge.answers import Answer
from edge.connections import Connections


class Replying(Protocol):
    """What a connection offers to the answers in its queue."""

    transport: asyncio.Transport

    def answered(self, reply: "DirectReply") -> None: ...
    def linger(self) -> None: ...


class DirectReply:
    """The place of one answer in its connection's queue. See `edge.links.Reply`."""

    __slots__ = ("_bodiless", "_protocol", "answer", "close", "location")

    def __init__(self, protocol: Replying, bodiless: bool, close: bool) -> None:
        self._protocol = protocol
        self._bodiless = bodiless
        self.close = close
        self.answer: Answer | None = None
        self.location: bytes | None = None

    def give(self, answer: Answer) -> None:
        self.answer = answer
        self._protocol.answered(self)

    def redirect(self, location: bytes) -> None:
        self.location = location
        self._protocol.answered(self)

    def content(self, connections: Connections) -> bytes | None:
        """The bytes to send, None while there is no answer yet."""
        if self.location is not None:
            return connections.stamp.redirect(self.location, close=self.close)
        if self.answer is not None:
            return self.answer.render(connections.stamp, bodiless=self._bodiless, close=self.close)
        return None


class PoliteTransport:
    """The transport as a cycle sees it: its close is the connection's polite one."""

    __slots__ = ("_protocol", "is_closing", "write")

    def __init__(self, protocol: Replying) -> None:
        self._protocol = protocol
        self.is_closing = protocol.transport.is_closing
        self.write = protocol.transport.write

    def close(self) -> None:
        self._protocol.linger()
