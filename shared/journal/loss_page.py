"""How many clicks a stream's writer answered without recording them: a count on disk that needs no new space.

The page is written in full at the stream's birth and only overwritten later, so a disk without a free byte takes it.
It has two slots, a memory page each, written in turn:

    slot  magic 8s | stream 16s | count u64 | CRC32 of all before u32        36 bytes

A slot that a crash tore keeps the other one, which holds the count before it; that is the right one, because nobody
was answered yet for the torn one.
"""

import os
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from shared.journal.stream import LOSSES_NAME, stream_id

_MAGIC: Final = b"\xf5mploss\n"
_FIELDS: Final = Struct("<8s16sQ")
_CRC: Final = Struct("<I")
_SLOT_BYTES: Final = 4096
_SLOTS: Final = 2


class LossPage:
    """The writer's side. Not thread safe: one thread owns it at a time. Every method but `close` raises OSError."""

    __slots__ = ("_fd", "_stream", "_turn", "count")

    def __init__(self, fd: int, stream: bytes) -> None:
        self._fd = fd
        self._stream = stream
        self._turn = 0
        self.count = 0

    @classmethod
    def create(cls, directory: Path, stream: bytes) -> "LossPage":
        """A page that declares no loss, on the disk but for its name: the directory is synced by the caller."""
        fd = os.open(directory / LOSSES_NAME, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            slot = _encode(stream, 0)
            os.write(fd, slot.ljust(_SLOT_BYTES, b"\0") * _SLOTS)
            os.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, stream)

    def declare(self, count: int) -> None:
        """Writes that `count` clicks were lost in all; `sync` makes it last."""
        slot = _encode(self._stream, count)
        written = os.pwrite(self._fd, slot, self._turn * _SLOT_BYTES)
        if written != len(slot):
            raise OSError("the loss page was cut short")
        self._turn = (self._turn + 1) % _SLOTS
        self.count = count

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def read_losses(path: Path) -> int:
    """How many clicks the writer of the stream at `path` declared lost; 0 when it left no page. Raises OSError."""
    try:
        page = (path / LOSSES_NAME).read_bytes()
    except FileNotFoundError:
        return 0
    stream = stream_id(path)
    return max(_decode(page, slot * _SLOT_BYTES, stream) for slot in range(_SLOTS))


def _encode(stream: bytes, count: int) -> bytes:
    fields = _FIELDS.pack(_MAGIC, stream, count)
    return fields + _CRC.pack(crc32(fields))


def _decode(page: bytes, start: int, stream: bytes) -> int:
    """The count in one slot, 0 for a slot that is torn or another stream's."""
    fields, checksum = page[start : start + _FIELDS.size], page[start + _FIELDS.size :][: _CRC.size]
    if len(checksum) < _CRC.size or checksum != _CRC.pack(crc32(fields)):
        return 0
    magic, found, count = _FIELDS.unpack(fields)
    return int(count) if (magic, found) == (_MAGIC, stream) else 0
