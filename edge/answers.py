"""Answers of the click path as the bytes that go out: nothing but Date and Connection differs from one to the next.

The direct path writes these itself, without ASGI messages; everything else goes through edge.respond.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from edge.errors import RETRY_AFTER

LINK_METHODS: Final = b"GET, HEAD, OPTIONS"

_BARE_STATUSES = frozenset((204, 304))


class Answer:
    """A complete answer that never differs. A HEAD gets the same without its body."""

    __slots__ = ("_body", "_head", "_status_line", "status")

    def __init__(self, status: int, text: str = "", *extra: tuple[bytes, bytes]) -> None:
        body = text.encode()
        headers = [(b"cache-control", b"no-store"), *extra]
        if status not in _BARE_STATUSES:
            headers.append((b"content-length", str(len(body)).encode()))
        if body:
            headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
        self.status = status
        self._status_line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        self._head = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._body = body

    def render(self, stamp: "Stamp", *, bodiless: bool, close: bool) -> bytes:
        """The bytes; `bodiless` for the answer to a HEAD."""
        end = b"connection: close\r\n\r\n" if close else b"\r\n"
        return b"".join((self._status_line, stamp.date, self._head, end, b"" if bodiless else self._body))


class Stamp:
    """What of an answer changes with the second: renewed by the clock, not by the click."""

    __slots__ = ("date", "found")

    def __init__(self) -> None:
        self.renew(time.time())

    def renew(self, now: float) -> None:
        """`now` in seconds since 1970."""
        self.date = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        self.found = (
            b"HTTP/1.1 302 Found\r\n" + self.date + b"cache-control: no-store\r\ncontent-length: 0\r\nlocation: "
        )

    def redirect(self, location: bytes, *, close: bool) -> bytes:
        """302 to `location`, which is ASCII without control characters (shared.macros sees to it)."""
        return self.found + location + (b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n")


_RETRY = (b"retry-after", RETRY_AFTER.encode())
_ALLOW = (b"allow", LINK_METHODS)

NOT_FOUND: Final = Answer(404, "Not found\n")
GONE: Final = Answer(410, "Gone\n")
LINK_OPTIONS: Final = Answer(204, "", _ALLOW)
LINK_METHOD: Final = Answer(405, "Method not allowed\n", _ALLOW)
PREFETCHED: Final = Answer(503)
UNAVAILABLE: Final = Answer(503, "Service unavailable\n", _RETRY)
CROWDED: Final = Answer(503, "Too many connections from this address\n", _RETRY)

MALFORMED: Final = Answer(400, "Bad request\n")
BAD_HOST: Final = Answer(400, "A request names exactly one host\n")
LONG_TARGET: Final = Answer(414, "The address is longer than 8 KB\n")
LARGE_BODY: Final = Answer(413, "The body is too large\n")
LARGE_HEAD: Final = Answer(431, "Too many headers, or too long ones\n")
UNKNOWN_METHOD: Final = Answer(501, "This method is not known here\n")
UNKNOWN_VERSION: Final = Answer(505, "HTTP/1.0 and HTTP/1.1 are spoken here\n")

WITHOUT_TARGET: Final = {404: NOT_FOUND, 410: GONE}
"""Answers to a recorded click that is sent nowhere, by status."""
