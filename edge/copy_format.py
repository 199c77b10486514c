"""What the copy of the routing table looks like on disk, and how it is read.

Lines of `CRC32 key text`: `c:7` and `a:1` are rows, later ones replace earlier ones; `mark` says for which generation
and version everything before it is complete. So a line that was torn by a kill or a power cut costs itself and nothing
else.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from typing import Final

import orjson

from edge.salts import Salts, usable_salts
from edge.table import RawRow
from shared.campaigns import ACCOUNT_KEY, CAMPAIGN_KEY

COPY_FORMAT: Final = 2
HEAD, MARK = b"head", b"mark"
_CRC_DIGITS: Final = 8
LARGEST_LINE: Final = 1 << 20


class CopyError(Exception):
    """The copy cannot be read or written; the text says why."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the rows of a copy are complete for. `salts` by day in hex; `at` is when it was written, ms."""

    generation: str
    version: int
    salts: dict[str, str] = field(default_factory=dict)
    at: int = 0

    def of_day(self, day: int) -> "Mark":
        """The same with the salts that may be kept on `day`."""
        kept = Salts(usable_salts(self.salts), b"").recent(day)
        return Mark(self.generation, self.version, {date: salt.hex() for date, salt in kept.items()}, self.at)


def encode_line(key: bytes, text: bytes) -> bytes:
    """One line of the copy; `text` has no line break."""
    body = key + b" " + text
    return b"%08x %s\n" % (zlib.crc32(body), body)


def encode_head() -> bytes:
    """The first line."""
    return encode_line(HEAD, orjson.dumps({"format": COPY_FORMAT}))


def encode_mark(mark: Mark) -> bytes:
    return encode_line(MARK, orjson.dumps(asdict(mark)))


def decode_line(line: bytes) -> RawRow | None:
    """Key and text, or None when the line is not as it was written."""
    body = line[_CRC_DIGITS + 1 : -1]
    if line[-1:] != b"\n" or line[_CRC_DIGITS : _CRC_DIGITS + 1] != b" ":
        return None
    if line[:_CRC_DIGITS] != b"%08x" % zlib.crc32(body):
        return None
    key, separator, text = body.partition(b" ")
    return (key, text) if separator else None


def read_copy(file: BufferedReader, add: Callable[[bytes, bytes], None]) -> Mark:
    """Give every row to `add`, in order; what they are complete for. A generation of "" says that something was
    damaged. Raises CopyError when there is no table in it, and OSError."""
    first = file.readline(LARGEST_LINE)
    return _read_format_1(first, file, add) if first.startswith(b"{") else _read_lines(first, file, add)


def lines(file: BufferedReader) -> Iterator[bytes]:
    """What follows in `file`; a line longer than LARGEST_LINE comes in pieces."""
    while line := file.readline(LARGEST_LINE):
        yield line


def _read_lines(first: bytes, file: BufferedReader, add: Callable[[bytes, bytes], None]) -> Mark:
    head = decode_line(first)
    if head is None or head[0] != HEAD or orjson.loads(head[1]).get("format") != COPY_FORMAT:
        raise CopyError("the copy has another format")
    mark: Mark | None = None
    damaged = False
    for line in lines(file):
        row = decode_line(line)
        if row is None:
            damaged |= line.endswith(b"\n")  # one without its end is torn, not damaged: it never counted
        elif row[0] == MARK:
            mark = _decode_mark(row[1])
        else:
            add(*row)
    if mark is None:
        raise CopyError("the copy is not complete")
    return mark if not damaged else Mark("", mark.version, mark.salts, mark.at)


def _decode_mark(text: bytes) -> Mark:
    try:
        fields = orjson.loads(text)
        mark = Mark(fields["generation"], fields["version"], dict(fields["salts"]), fields["at"])
    except (ValueError, KeyError, TypeError) as error:
        raise CopyError(f"the copy has an unreadable mark: {error}") from error
    if not (isinstance(mark.generation, str) and type(mark.version) is int and type(mark.at) is int):
        raise CopyError("the copy has an unreadable mark")
    return mark


def _read_format_1(first: bytes, file: BufferedReader, add: Callable[[bytes, bytes], None]) -> Mark:
    """The form before changes were appended: a head with the numbers of rows, then their texts without keys."""
    try:
        head = orjson.loads(first)
        version, campaigns, accounts = head["version"], head["campaigns"], head["accounts"]
        salts = {day: text for day, text in dict(head["salts"]).items() if isinstance(text, str)}
    except (ValueError, KeyError, TypeError) as error:
        raise CopyError(f"the copy has no head: {error}") from error
    if head.get("format") != 1 or not all(type(number) is int for number in (version, campaigns, accounts)):
        raise CopyError("the copy has another format")
    texts = list(lines(file))
    if min(version, campaigns, accounts) < 0 or len(texts) != campaigns + accounts or texts[-1:] == [b""]:
        raise CopyError("the copy is not complete")
    for number, line in enumerate(texts):
        key = CAMPAIGN_KEY if number < campaigns else ACCOUNT_KEY
        add(key + b"line %d" % number, line.removesuffix(b"\n"))
    return Mark("", version, salts, int(os.fstat(file.fileno()).st_mtime * 1000))
