"""What the head of a request must be before it is a request: version, host, target, sizes (api.md section 6). Pure."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from edge import answers
from edge.answers import Answer

MAX_TARGET: Final = 8192
MAX_LINE: Final = 8192
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 16 * 1024
Pairs = list[tuple[bytes, bytes]]
"""Headers in the order received, names in lower case."""

SURELY_SMALL: Final = 4096
"""A head that came in so few bytes keeps every limit but that on the number of headers."""

_AUTHORITY_END = re.compile(rb"[/?#]")
_FRAMING: Final = frozenset((b"connection", b"content-length", b"transfer-encoding"))
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNESCAPED = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")


class Refused(Exception):
    """The request breaks a rule of the protocol: it gets this answer, and the connection ends."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


Head = tuple[bytes, bytes, bytes, dict[bytes, bytes]]
"""Host, path as it was sent, query, and the headers as a mapping (of a repeated header the last)."""


def judged(version: str, target: bytes, pairs: Pairs, *, small: bool) -> Head:
    """The head, if it is one that is answered; raises Refused. `version` is `1.1`, `pairs` names in lower case in the
    order received, `small` says that the sizes need no look."""
    if not small or len(pairs) > MAX_HEADERS:
        check_sizes(pairs)
    if version not in ("1.1", "1.0"):
        raise Refused(version_answer(version))
    headers = dict(pairs)
    host = headers.get(b"host")
    if host is None or (len(headers) != len(pairs) and sum(name == b"host" for name, _ in pairs) > 1):
        raise Refused(answers.BAD_HOST)
    if b"transfer-encoding" in headers:
        _check_coding(pairs)
    if target[:1] != b"/":
        target, host = split_absolute(target, host)
    if b"#" in target:
        target = target.partition(b"#")[0]
    path, _, query = target.partition(b"?")
    return host, path, query, headers


def version_answer(version: str) -> Answer:
    """The answer to a request that cannot be read: 505 when its version is why."""
    return answers.MALFORMED if version in ("0.0", "0.9", "1.0", "1.1") else answers.UNKNOWN_VERSION


def check_sizes(pairs: Pairs) -> None:
    """Raises Refused for too many headers or too long ones."""
    lines = [len(name) + 2 + len(value) for name, value in pairs]
    if len(lines) > MAX_HEADERS or max(lines, default=0) > MAX_LINE or sum(lines) + 2 * len(lines) > MAX_HEAD:
        raise Refused(answers.LARGE_HEAD)


def split_absolute(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Path with query, and host, of a target that does not begin with a slash: in absolute form its own host counts
    (RFC 9112, 3.2.2). Raises Refused for a target that is neither that nor `*`."""
    if target == b"*":
        return b"/", host
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Refused(answers.MALFORMED)
    end = _AUTHORITY_END.search(rest)
    authority, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, b"")
    return path if path[:1] == b"/" else b"/" + path, authority


def unquoted(path: bytes) -> bytes:
    return unquote_to_bytes(path) if b"%" in path else path


def mended(head: bytes) -> bytes:
    """A request that begins with its head, with the bytes escaped that have no place in it but do no harm: beyond
    ASCII and controls in the first line, controls in the values of headers. Some sources paste names into links as
    they are, and a click is not lost over that. Bytes that end a line or a word stay what they are; so does NUL."""
    start = len(head) - len(head.lstrip(b"\r\n"))
    end = head.find(b"\r\n\r\n", start)
    end = len(head) if end < 0 else end
    first, *lines = head[start:end].split(b"\r\n")
    fields = [line.partition(b":") for line in lines]
    values = [b"%b%b%b" % (name, colon, _CONTROL.sub(_escape, value)) for name, colon, value in fields]
    return head[:start] + b"\r\n".join([_UNESCAPED.sub(_escape, first), *values]) + head[end:]


def _escape(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % byte[0][0]


def check_trailers(trailers: Pairs) -> None:
    """Raises Refused for a trailer that would frame a message or end a connection (RFC 9110, 6.5.1)."""
    if any(name in _FRAMING for name, _ in trailers):
        raise Refused(answers.MALFORMED)


def _check_coding(pairs: Pairs) -> None:
    """`chunked` alone: what else a coding could mean, two readers may read in two ways."""
    codings = [value.strip(b" \t").lower() for name, value in pairs if name == b"transfer-encoding"]
    if codings != [b"chunked"]:
        raise Refused(answers.MALFORMED)
