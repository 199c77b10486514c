"""One segment file as a reader sees it: bytes by place, unreadable parts as zeros, and what survives damage."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from shared.journal.record import (
    MAX_RECORD,
    SEGMENT_HEADER_BYTES,
    Place,
    Record,
    SegmentHeader,
    decode_at,
    decode_segment_header,
    survivors,
)
from shared.journal.stream import SegmentName

_PAGE = 4096
_WINDOW = 4 << 20


class SegmentFile:
    """An open segment; its deletion by others does not disturb it. Every method but `close` raises OSError."""

    __slots__ = ("_fd",)

    def __init__(self, directory: Path, name: SegmentName) -> None:
        """Raises FileNotFoundError when it was deleted."""
        self._fd = os.open(directory / name.file, os.O_RDONLY | os.O_CLOEXEC)

    def header(self) -> SegmentHeader | None:
        """None when it is damaged. Raises `UnknownVersion`."""
        return decode_segment_header(self.read(SEGMENT_HEADER_BYTES, 0))

    def changed_at_ns(self) -> int:
        return os.fstat(self._fd).st_mtime_ns

    def read(self, size: int, start: int) -> bytes:
        """Up to `size` bytes, fewer only at the end of the file. What the disk cannot read comes as zeros."""
        try:
            return os.pread(self._fd, size, start)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        return b"".join(self._read_piecewise(size, start))

    def _read_piecewise(self, size: int, start: int) -> Iterator[bytes]:
        # One bad sector must not hide its neighbours: page by page, and only the bad pages are given up.
        end = min(start + size, os.fstat(self._fd).st_size)
        while start < end:
            length = min(_PAGE - start % _PAGE, end - start)
            try:
                yield os.pread(self._fd, length, start)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                yield bytes(length)
            start += length

    def read_place(self, place: Place) -> Record | None:
        decoded = decode_at(self.read(place.end - place.start, place.start), 0)
        return decoded and decoded[0]

    def survivors(self, start: int) -> Iterator[Place]:
        """Every intact record from `start` to the end of the file, in order of place, with places in the file."""
        while (start := self._next_written(start)) >= 0:
            window = self.read(_WINDOW, start)
            at_end = len(window) < _WINDOW
            # A record that begins in the last stretch may be cut by the window: it is left to the next one.
            limit = len(window) if at_end else len(window) - MAX_RECORD
            reached = limit
            for seq, begin, end in survivors(window, 0, limit):
                yield Place(seq, start + begin, start + end)
                reached = max(reached, end)
            if at_end:
                return
            start += reached

    def _next_written(self, start: int) -> int:
        """The first place from `start` on that was ever written, -1 for none: reserved space is skipped unread."""
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return -1
            if error.errno == errno.EINVAL:  # a file system that cannot tell
                return start
            raise

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
