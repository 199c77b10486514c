"""The routing table's copy on disk: written whole now and then, and between that every change appended to it.

Lines of `CRC32 key text`: `c:7` and `a:1` are rows, later ones replace earlier ones; `mark` says for which generation
and version everything before it is complete. So a line that was torn by a kill or a power cut costs itself and nothing
else. The file holds tokens and salts: it is for this user alone, and salts older than two days leave it with the next
whole writing, at most a day later.

Everything here blocks; edge.routing_table calls it in threads. One process a host writes.
"""

import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Final

import orjson

from edge.salts import Salts, usable_salts
from edge.table import RawRow
from shared.campaigns import ACCOUNT_KEY, CAMPAIGN_KEY

COPY_FORMAT: Final = 2
SPARE_BYTES: Final = 16 << 20
"""Changes may take this much, or as much as the table itself, before the file is written anew."""
_HEAD, _MARK = b"head", b"mark"
_CRC_DIGITS: Final = 8
_LINES_AT_ONCE: Final = 200
_PAUSE_SECONDS: Final = 0.0005
"""Between lines that are copied, so that the thread does not keep the interpreter from the clicks."""
_LARGEST_LINE: Final = 1 << 20


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


def encode_mark(mark: Mark) -> bytes:
    return encode_line(_MARK, orjson.dumps(asdict(mark)))


def decode_line(line: bytes) -> RawRow | None:
    """Key and text, or None when the line is not as it was written."""
    body = line[_CRC_DIGITS + 1 : -1]
    if line[-1:] != b"\n" or line[_CRC_DIGITS : _CRC_DIGITS + 1] != b" ":
        return None
    if line[:_CRC_DIGITS] != b"%08x" % zlib.crc32(body):
        return None
    key, separator, text = body.partition(b" ")
    return (key, text) if separator else None


class TableCopy:
    """One copy. `read` by any process; the rest by the one that writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft_path = path.with_name(f".{path.name}.draft")
        self._lock = threading.Lock()
        self._descriptor = -1
        self._size = 0
        """Up to here the file is as it should be."""
        self._whole_size = 0
        self._whole_day = 0
        self.mark: Mark | None = None
        """What the file is complete for; None while it must be written whole before anything may be appended."""

    def read(self, add: Callable[[bytes, bytes], None]) -> Mark | None:
        """Give every row to `add`, in order; what they are complete for, None without a file. A generation of ""
        says that something was damaged. Raises CopyError when there is no table in it."""
        try:
            with self._path.open("rb") as file:
                first = file.readline(_LARGEST_LINE)
                if first.startswith(b"{"):
                    return _read_format_1(first, file, add)
                return _read_lines(first, file, add)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CopyError(str(error)) from error

    def resume(self, mark: Mark) -> None:
        """Go on appending to the file that `read` gave `mark` for. A line that is torn is cut off."""
        if not mark.generation:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise CopyError(str(error)) from error
        try:
            self._size = _whole_lines(descriptor)
            os.ftruncate(descriptor, self._size)
        except OSError as error:
            os.close(descriptor)
            raise CopyError(str(error)) from error
        # How much of it is out of date nobody knows, so it is written anew soon.
        self._descriptor, self._whole_size, self._whole_day, self.mark = descriptor, 0, 0, mark

    def append(self, rows: Iterable[RawRow], mark: Mark) -> None:
        """Add a change. Raises CopyError; then the file is as it was before, or must be written whole."""
        content = b"".join([*(encode_line(key, text) for key, text in rows), encode_mark(mark)])
        with self._lock:
            if self.mark is None:
                raise CopyError("the copy must be written whole first")
            try:
                if os.stat(self._path).st_ino != os.fstat(self._descriptor).st_ino:
                    raise OSError("the file was replaced")
                _write(self._descriptor, content)
            except OSError as error:
                self._undo()
                raise CopyError(str(error)) from error
            self._size += len(content)
            self.mark = mark

    def _undo(self) -> None:
        try:
            if os.stat(self._path).st_ino == os.fstat(self._descriptor).st_ino:
                os.ftruncate(self._descriptor, self._size)
                return
        except OSError:
            pass  # whatever it was: the file cannot be relied on, which is what happens next
        self.mark = None

    def draft(self) -> "Draft":
        """Begin to write the whole table anew, beside the file in use. Raises CopyError."""
        return Draft(self._draft_path)

    def replace(self, draft: "Draft", mark: Mark, day: int) -> None:
        """Put a finished draft in place of the file. Raises CopyError."""
        try:
            draft.add_bytes(encode_mark(mark))
            draft.sync()
            with self._lock:
                self._take(draft, mark, day)
        except OSError as error:
            draft.discard()
            raise CopyError(str(error)) from error

    def is_due(self, day: int) -> bool:
        """Whether it is time to write the file anew: for its size, or because a day is over and salts may be old."""
        grown = self._size - self._whole_size
        return self.mark is not None and (grown > max(SPARE_BYTES, self._whole_size) or day != self._whole_day)

    def compact(self, day: int) -> None:
        """Write the file anew without what was replaced since. Changes may be appended meanwhile. Raises CopyError;
        then the file is the one it was."""
        with self._lock:
            mark, end = self.mark, self._size
        if mark is None:
            return
        draft = self.draft()
        try:
            for line in self._last_lines(end):
                draft.add_bytes(line)
            draft.add_bytes(encode_mark(mark.of_day(day)))
            draft.sync()
            with self._lock:
                if self.mark is None:
                    raise OSError("the file was lost meanwhile")
                draft.add_bytes(_read_at(self._descriptor, end, self._size - end))
                self._take(draft, self.mark, day)
        except OSError as error:
            draft.discard()
            raise CopyError(str(error)) from error

    def _last_lines(self, end: int) -> Iterator[bytes]:
        """Of every row the last line before `end`, in the order of the file."""
        places = {key: place for place, key, _ in self._sound_lines(end)}
        for place, key, line in self._sound_lines(end):
            if places[key] == place:
                yield line

    def _sound_lines(self, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Place, key and line of every row before `end`."""
        place = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file)):
                if place >= end:
                    break
                row = decode_line(line)
                if row is not None and row[0] not in (_HEAD, _MARK):
                    yield place, row[0], line
                place += len(line)
                if number % _LINES_AT_ONCE == 0:
                    time.sleep(_PAUSE_SECONDS)

    def _take(self, draft: "Draft", mark: Mark, day: int) -> None:
        descriptor, size = draft.rename(self._path)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = self._whole_size = size
        self._whole_day = day
        self.mark = mark

    def close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor, self.mark = -1, None


class Draft:
    """A copy that is being written. A thread that discards it waits for one that writes: a descriptor that is closed
    under a write may be another file's by then."""

    def __init__(self, path: Path) -> None:
        """Raises CopyError."""
        self._path = path
        self._lock = threading.RLock()
        try:
            path.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise CopyError(str(error)) from error
        self._waiting = [encode_line(_HEAD, orjson.dumps({"format": COPY_FORMAT}))]

    def add(self, rows: Iterable[RawRow]) -> None:
        """Raises CopyError."""
        try:
            with self._lock:
                for key, text in rows:
                    self.add_bytes(encode_line(key, text))
                self._flush()
        except OSError as error:
            self.discard()
            raise CopyError(str(error)) from error

    def add_bytes(self, content: bytes) -> None:
        """Whole lines. Raises OSError."""
        with self._lock:
            self._waiting.append(content)
            if len(self._waiting) >= _LINES_AT_ONCE:
                self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self._descriptor < 0:
            raise OSError("the draft was discarded")
        _write(self._descriptor, b"".join(waiting))

    def sync(self) -> None:
        with self._lock:
            self._flush()
            os.fsync(self._descriptor)

    def rename(self, path: Path) -> tuple[int, int]:
        """Make it the file at `path`; its descriptor, which the caller closes, and its size."""
        with self._lock:
            self._flush()
            self._path.rename(path)
            descriptor, self._descriptor = self._descriptor, -1
        return descriptor, os.lseek(descriptor, 0, os.SEEK_END)

    def discard(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self._path.unlink(missing_ok=True)


def _read_lines(first: bytes, file: BufferedReader, add: Callable[[bytes, bytes], None]) -> Mark:
    head = decode_line(first)
    if head is None or head[0] != _HEAD or orjson.loads(head[1]).get("format") != COPY_FORMAT:
        raise CopyError("the copy has another format")
    mark: Mark | None = None
    damaged = False
    for line in _lines(file):
        row = decode_line(line)
        if row is None:
            damaged |= line.endswith(b"\n")  # one without its end is torn, not damaged: it never counted
        elif row[0] == _MARK:
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
    lines = list(_lines(file))
    if min(version, campaigns, accounts) < 0 or len(lines) != campaigns + accounts or lines[-1:] == [b""]:
        raise CopyError("the copy is not complete")
    for number, line in enumerate(lines):
        key = CAMPAIGN_KEY if number < campaigns else ACCOUNT_KEY
        add(key + b"line %d" % number, line.removesuffix(b"\n"))
    return Mark("", version, salts, int(os.fstat(file.fileno()).st_mtime * 1000))


def _lines(file: BufferedReader) -> Iterator[bytes]:
    while line := file.readline(_LARGEST_LINE):
        yield line


def _whole_lines(descriptor: int) -> int:
    """The size of the file up to the end of its last whole line."""
    size = os.fstat(descriptor).st_size
    while size:
        start = max(0, size - _LARGEST_LINE)
        piece = _read_at(descriptor, start, size - start)
        end = piece.rfind(b"\n")
        if end >= 0:
            return start + end + 1
        size = start
    return 0


def _read_at(descriptor: int, start: int, length: int) -> bytes:
    pieces = []
    while length > 0:
        piece = os.pread(descriptor, length, start)
        if not piece:
            raise OSError("the file is shorter than it was")
        pieces.append(piece)
        start += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
