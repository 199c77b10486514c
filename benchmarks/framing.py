"""Where one HTTP/1.1 answer ends and the next begins, for a client that looks at nothing but the status. Exact for what
a server sends to GETs with Content-Length; anything else is an error, not a guess.
"""

import re
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE).search
_BARE: Final = frozenset((b"204", b"304"))
LARGEST_HEAD: Final = 64 * 1024


class Unframed(Exception):
    """The bytes are no answer whose end is known."""


class Framing:
    """Cuts one connection's bytes into answers."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The statuses (`b"302"`) of the answers that these bytes complete; raises Unframed."""
        if self._rest:
            data = self._rest + data
        statuses: list[bytes] = []
        start = 0
        while start < len(data):
            head_end = data.find(b"\r\n\r\n", start)
            if head_end < 0:
                if len(data) - start > LARGEST_HEAD:
                    raise Unframed("a head without end")
                break
            status = data[start + 9 : start + 12]
            if data[start : start + 9] not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or not status.isdigit():
                raise Unframed(repr(data[start : start + 20]))
            end = head_end + 4
            if status not in _BARE:
                # From the first line's end on, so that the header may be the first as well as the last.
                found = _LENGTH(data, start, head_end + 2)
                if found is None:
                    raise Unframed("an answer without Content-Length")
                end += int(found[1])
            if end > len(data):
                break
            statuses.append(status)
            start = end
        self._rest = data[start:]
        return statuses
