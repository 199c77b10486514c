"""The file that a living stream writes to: reserved ahead, written in one piece a time, cut to size at its end."""

import os
from pathlib import Path

from shared.journal.record import SEGMENT_HEADER_BYTES, encode_segment_header
from shared.journal.stream import segment_name, sync_directory

RESERVE_BYTES = 4 << 20


class OpenSegment:
    """One segment being written. Not thread safe: one thread owns it at a time. Every method raises OSError."""

    __slots__ = ("_limit", "_reserved", "fd", "room_to", "size")

    def __init__(self, fd: int, limit: int) -> None:
        self.fd = fd
        self.size = 0
        self.room_to = 0
        """Up to this size `write` may be called with no further ado, beyond it only after `make_room`."""
        self._limit = limit
        self._reserved = 0

    @classmethod
    def create(cls, directory: Path, stream: bytes, first_seq: int, limit: int, *, durable: bool) -> "OpenSegment":
        """A new segment under its final name; with `durable` its header and its name have reached the disk.

        The header is written before the file gets its name, so a reader never meets a segment without one.
        """
        name = segment_name(first_seq)
        hidden = directory / f".{name}"
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        segment = cls(fd, limit)
        try:
            segment.make_room(SEGMENT_HEADER_BYTES)
            segment.write(encode_segment_header(stream, first_seq))
            if durable:
                os.fsync(fd)
            hidden.rename(directory / name)
            if durable:
                sync_directory(directory)
        except BaseException:
            os.close(fd)
            raise
        return segment

    def make_room(self, size: int) -> bool:
        """Reserves what `size` bytes more need. False when they belong into the next segment.

        A segment goes up to its limit, but takes one write whatever its size. Space and file size are settled
        ahead, so that a sync has neither to allocate blocks nor to change the size.
        """
        end = self.size + size
        if end > self._limit and self.size > SEGMENT_HEADER_BYTES:
            return False
        step = min(RESERVE_BYTES, max(self._limit, SEGMENT_HEADER_BYTES))
        missing = max(end - self._reserved, 0)
        if missing:
            grown = self._reserved + step * -(-missing // step)
            os.posix_fallocate(self.fd, self._reserved, grown - self._reserved)
            self._reserved = grown
        self.room_to = min(self._reserved, max(self._limit, end))
        return True

    def write(self, piece: bytes) -> None:
        """Appends all of `piece`; after an error the segment must not be written to again."""
        written = os.write(self.fd, piece)
        while written < len(piece):
            # A short write is what a full disk looks like: the next one completes it or says what is wrong.
            written += os.write(self.fd, piece[written:])
        self.size += written

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def seal(self) -> None:
        """Gives back what was reserved and not used, and closes the file."""
        try:
            os.ftruncate(self.fd, self.size)
        finally:
            self.close()

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
