"""A strict HTTP/1.1 client on a bare socket: sends whatever bytes it is given, reads answers by their exact framing,
and tells how the server ended the connection.

Strict, because a client that forgives would hide what a browser or a proxy trips over: an answer without a length,
a header line with a control character, bytes that belong to no answer.
"""

import re
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Self

from tests.integration.edge.harness import DEADLINE, Answer

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*").fullmatch
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*").fullmatch
_LENGTH = re.compile(r"[0-9]{1,15}").fullmatch
_CHUNK = 65_536
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class End(Enum):
    """How a connection stands after its last answer."""

    CLOSED = "closed"
    RESET = "reset"
    OPEN = "open"


class NoAnswer(AssertionError):
    """The connection ended, or fell silent, before an answer was complete; `received` is what came of it."""

    def __init__(self, end: End, received: bytes) -> None:
        super().__init__(f"connection {end.value} after {len(received)} bytes of an answer: {received[:200]!r}")
        self.end = end
        self.received = received


class MalformedAnswer(AssertionError):
    """The bytes are no HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class RawAnswer(Answer):
    """`head` is the status line and the headers as received."""

    head: bytes

    def without_date(self) -> bytes:
        """The whole answer but for its Date, to be compared byte by byte."""
        return re.sub(rb"(?im)^date:[^\r\n]*", b"date:", self.head) + self.body


class Connection:
    """One connection to a port of this machine, from `source`. `receive_buffer` in bytes makes a reader slow."""

    def __init__(
        self, port: int, *, source: str = "127.0.0.1", receive_buffer: int | None = None, timeout: float = DEADLINE
    ) -> None:
        self._socket = socket.socket()
        try:
            if receive_buffer is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(timeout)
            self._socket.bind((source, 0))
            self._socket.connect(("127.0.0.1", port))
        except BaseException:
            self._socket.close()
            raise
        self.local_port: int = self._socket.getsockname()[1]
        self._timeout = timeout
        self._received = bytearray()
        self._end = End.OPEN

    def send(self, sent: bytes) -> None:
        self._socket.sendall(sent)

    def send_pieces(self, pieces: Iterable[bytes], pause: float = 0.0) -> bool:
        """Send one piece after another until the server answers or ends the connection; whether all were sent."""
        for piece in pieces:
            if self.receives(pause):
                return False
            try:
                self._socket.sendall(piece)
            except (ConnectionResetError, BrokenPipeError):
                return False
        return True

    def receives(self, within: float) -> bool:
        """Wait until something was received, or the end of the connection, and say whether."""
        return bool(self._received) or self._receive(within)

    def _receive(self, within: float) -> bool:
        """Take in what arrives next, bytes or the end; False when nothing did."""
        if self._end is not End.OPEN:
            return True
        # a timeout of 0 would make the socket non-blocking, which reports silence by another exception
        self._socket.settimeout(max(within, 0.000_1))
        try:
            chunk = self._socket.recv(_CHUNK)
        except TimeoutError:
            return False
        except ConnectionResetError:
            self._end = End.RESET
            return True
        finally:
            self._socket.settimeout(self._timeout)
        if not chunk:
            self._end = End.CLOSED
        self._received += chunk
        return True

    def read(self, method: str = "GET") -> RawAnswer:
        """The next answer, to a request with `method`. Raises NoAnswer or MalformedAnswer."""
        head_size = self._await(lambda: self._received.find(b"\r\n\r\n") + 4, at_least=4)
        head = bytes(self._received[: head_size - 2])
        status, headers = _parsed_head(head)
        if method == "HEAD" or status in (204, 304) or status < 200:
            del self._received[:head_size]
            if status == 204 or status < 200:
                # RFC 9110 8.6 and 9112 6.1: these never announce a body
                _demand("content-length" not in headers and "transfer-encoding" not in headers, head)
            return RawAnswer(status, headers, b"", head)
        if "transfer-encoding" in headers:
            _demand(headers["transfer-encoding"] == ["chunked"] and "content-length" not in headers, head)
            del self._received[:head_size]
            return RawAnswer(status, headers, self._chunked_body(), head)
        lengths = headers.get("content-length", [])
        _demand(len(lengths) == 1 and _LENGTH(lengths[0]) is not None, head)
        whole = head_size + int(lengths[0])
        self._await(lambda: len(self._received), at_least=whole)
        body = bytes(self._received[head_size:whole])
        del self._received[:whole]
        return RawAnswer(status, headers, body, head)

    def _chunked_body(self) -> bytes:
        body = b""
        while True:
            line_size = self._await(lambda: self._received.find(b"\r\n") + 2, at_least=2)
            size = int(self._received[: line_size - 2], 16)
            end = line_size + size + 2
            self._await(lambda: len(self._received), at_least=end)
            body += self._received[line_size : end - 2]
            _demand(self._received[end - 2 : end] == b"\r\n", bytes(self._received[:end]))
            del self._received[:end]
            if size == 0:
                return body

    def _await(self, measure: Callable[[], int], at_least: int) -> int:
        until = time.monotonic() + self._timeout
        while (found := measure()) < at_least:
            if self._end is not End.OPEN or (left := until - time.monotonic()) <= 0:
                raise NoAnswer(self._end, bytes(self._received))
            self._receive(left)
        return found

    def read_all(self, methods: Sequence[str]) -> list[RawAnswer]:
        """One answer for each request, in order."""
        return [self.read(method) for method in methods]

    def read_or_end(self, method: str = "GET") -> RawAnswer | None:
        """The next answer, None when the server has ended the connection instead. Raises NoAnswer for half of one,
        and when neither happens."""
        try:
            return self.read(method)
        except NoAnswer as missing:
            if missing.end is End.OPEN or missing.received:
                raise
            return None

    def end(self, within: float = DEADLINE) -> End:
        """How the server ends the connection, if it does `within` seconds. Bytes that still come fail."""
        until = time.monotonic() + within
        while self._end is End.OPEN and not self._received and (left := until - time.monotonic()) > 0:
            self._receive(left)
        if self._received:
            raise MalformedAnswer(f"bytes after the last answer: {bytes(self._received[:200])!r}")
        return self._end

    def half_close(self) -> None:
        """Say that nothing more will be sent; answers can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        """Disappear with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parsed_head(head: bytes) -> tuple[int, dict[str, list[str]]]:
    first, *lines = head.split(b"\r\n")[:-1]
    status_line = _STATUS_LINE(first)
    if status_line is None:
        raise MalformedAnswer(f"no status line: {first[:200]!r}")
    headers: dict[str, list[str]] = {}
    for line in lines:
        header = _HEADER_LINE(line)
        if header is None:
            raise MalformedAnswer(f"no header line: {line[:200]!r}")
        headers.setdefault(header[1].decode("ascii").lower(), []).append(header[2].decode("latin-1"))
    return int(status_line[1]), headers


def _demand(holds: bool, shown: bytes) -> None:
    if not holds:
        raise MalformedAnswer(f"badly framed: {shown[:500]!r}")
