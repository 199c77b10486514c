"""The routing table's copy on disk: written whole now and then, and between that every change appended to it. What it
looks like: `copy_format`.

The file holds tokens and salts: it is for this user alone, and salts older than two days leave it with the next whole
writing, at most a day later.

Everything here blocks; edge.copy_keeper calls it in threads. One process a host writes.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from edge.copy_draft import Draft, write_all
from edge.copy_format import (
    HEAD,
    LARGEST_LINE,
    MARK,
    CopyError,
    Mark,
    decode_line,
    encode_line,
    encode_mark,
    lines,
    read_copy,
)
from edge.table import RawRow

SPARE_BYTES: Final = 16 << 20
"""Changes may take this much, or as much as the table itself, before the file is written anew."""
_LINES_BETWEEN_PAUSES: Final = 200
_PAUSE_SECONDS: Final = 0.0005
"""While lines are copied, so that the thread does not keep the interpreter from the clicks."""


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
                return read_copy(file, add)
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
                write_all(self._descriptor, content)
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

    def draft(self) -> Draft:
        """Begin to write the whole table anew, beside the file in use. Raises CopyError."""
        return Draft(self._draft_path)

    def replace(self, draft: Draft, mark: Mark, day: int) -> None:
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
            for number, line in enumerate(lines(file)):
                if place >= end:
                    break
                row = decode_line(line)
                if row is not None and row[0] not in (HEAD, MARK):
                    yield place, row[0], line
                place += len(line)
                if number % _LINES_BETWEEN_PAUSES == 0:
                    time.sleep(_PAUSE_SECONDS)

    def _take(self, draft: Draft, mark: Mark, day: int) -> None:
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


def _whole_lines(descriptor: int) -> int:
    """The size of the file up to the end of its last whole line."""
    size = os.fstat(descriptor).st_size
    while size:
        start = max(0, size - LARGEST_LINE)
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
