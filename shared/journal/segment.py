"""The file that a living stream writes to: reserved ahead, written in one piece a time, cut to size at its end."""

import errno
import os
from pathlib import Path
from typing import Final

from shared.journal.record import SEGMENT_HEADER_BYTES, encode_segment_header
from shared.journal.stream import SegmentName, sync_directory

RESERVE_BYTES: Final = 4 << 20
LAST_RESERVE_BYTES: Final = 512 << 10
"""Kept allocated behind everything that ordinary records may fill: some 500 postbacks on a disk that is full."""
NO_SPACE: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


class NoRoom(OSError):
    """The disk has no space for what was to be written; nothing of it can be seen by anyone."""


class CutShort(OSError):
    """The disk ran out of space in the middle of a write, although the space was reserved (not all file systems
    keep that word). The first `written` bytes of the piece are in the file."""

    def __init__(self, cause: OSError, written: int) -> None:
        super().__init__(*cause.args)
        self.written = written


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
    def create(
        cls,
        directory: Path,
        stream: bytes,
        name: SegmentName,
        limit: int,
        *,
        room: int = 0,
        roomless: bool = False,
        durable: bool,
    ) -> "OpenSegment":
        """A new segment under its final name, with room for a first write of `room` bytes; `roomless` with none at
        all, for a disk that has nothing to give.

        The header is written before the file gets its name, so a reader never meets a segment without one. With
        `durable`, header and name have reached the disk. Raises `NoRoom` while nothing of it can be seen yet.
        """
        hidden = directory / f".{name.file}"
        fd = -1
        try:
            fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            segment = cls(fd, limit)
            if roomless:
                segment._reserve(SEGMENT_HEADER_BYTES)
            else:
                segment.make_room(SEGMENT_HEADER_BYTES)
            segment.write(encode_segment_header(stream, name.first_seq))
            if not roomless:
                segment.make_room(room)
            if durable:
                os.fsync(fd)
            hidden.rename(directory / name.file)
        except BaseException as error:
            if fd >= 0:
                os.close(fd)
                hidden.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise NoRoom(*error.args) from error
            raise
        try:
            if durable:
                sync_directory(directory)
        except BaseException:
            os.close(fd)
            raise
        return segment

    def make_room(self, size: int) -> bool:
        """Reserves what `size` bytes more need. False when they belong into the next segment. Raises `NoRoom`.

        A segment goes up to its limit, but takes one write whatever its size. Space and file size are settled
        ahead, so that a sync has neither to allocate blocks nor to change the size.
        """
        end = self.size + size
        if end > self._limit and self.size > SEGMENT_HEADER_BYTES:
            return False
        ordinary = max(self._reserved - LAST_RESERVE_BYTES, 0)
        missing = end - ordinary
        if missing > 0:
            ordinary += self.step * -(-missing // self.step)
            self._reserve(ordinary + LAST_RESERVE_BYTES)
        self.room_to = min(ordinary, max(self._limit, end))
        return True

    @property
    def step(self) -> int:
        """What is reserved at a time."""
        return min(RESERVE_BYTES, max(self._limit, SEGMENT_HEADER_BYTES))

    def _reserve(self, end: int) -> None:
        try:
            os.posix_fallocate(self.fd, self._reserved, end - self._reserved)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            # Some file systems keep what they could get, which would leave nobody a byte.
            os.ftruncate(self.fd, self._reserved)
            raise NoRoom(*error.args) from error
        self._reserved = end

    def has_last_room(self, size: int) -> bool:
        """Whether `write` may be called for what the last reserve is for."""
        return self.size + size <= self._reserved

    def write(self, piece: bytes) -> None:
        """Appends all of `piece`. After an error the segment must not be written to again, but for `CutShort`:
        then `keep` says how much of the piece counts."""
        written = 0
        try:
            while written < len(piece):
                # A short write is what a full disk looks like: the next one completes it or says what is wrong.
                written += os.write(self.fd, piece[written:] if written else piece)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise CutShort(error, written) from error
            raise
        self.size += written

    def keep(self, size: int) -> None:
        """Takes the first `size` bytes of a piece that was cut short for written; the next piece follows them."""
        self.size += size
        os.lseek(self.fd, self.size, os.SEEK_SET)

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
