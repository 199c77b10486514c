"""A number on disk that only grows and needs no new space: how a writer tells a count that a full disk must take too.

The page is written in full at the stream's birth and only overwritten later. It has two slots, written in turn:

    slot  magic 8s | stream 16s | count u64 | CRC32 of all before u32        36 bytes

A slot that a crash tore keeps the other one, which holds the count before it.
"""

import os
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from shared.journal.stream import stream_id

_FIELDS: Final = Struct("<8s16sQ")
_CRC: Final = Struct("<I")
_SLOTS: Final = 2


class CountPage:
    """The writer's side. Not thread safe: one thread owns it at a time. Every method but `close` raises OSError."""

    __slots__ = ("_fd", "_magic", "_slot_bytes", "_stream", "_turn", "count")

    def __init__(self, fd: int, magic: bytes, stream: bytes, slot_bytes: int) -> None:
        self._fd = fd
        self._magic = magic
        self._stream = stream
        self._slot_bytes = slot_bytes
        self._turn = 0
        self.count = 0

    @classmethod
    def create(cls, file: Path, magic: bytes, stream: bytes, slot_bytes: int) -> "CountPage":
        """A page that says 0, on the disk but for its name: the directory is synced by the caller."""
        fd = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            slot = _encode(magic, stream, 0)
            os.write(fd, slot.ljust(slot_bytes, b"\0") * _SLOTS)
            os.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, magic, stream, slot_bytes)

    def write(self, count: int) -> None:
        """Says `count`; `sync` makes it last."""
        slot = _encode(self._magic, self._stream, count)
        written = os.pwrite(self._fd, slot, self._turn * self._slot_bytes)
        if written != len(slot):
            raise OSError("the page was cut short")
        self._turn = (self._turn + 1) % _SLOTS
        self.count = count

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def read_count(path: Path, name: str, magic: bytes, slot_bytes: int) -> int | None:
    """What the page `name` of the stream at `path` says; None for a page that is not there, or has no whole slot of
    this stream. Raises OSError."""
    try:
        page = (path / name).read_bytes()
    except FileNotFoundError:
        return None
    stream = stream_id(path)
    found = [_decode(page, slot * slot_bytes, magic, stream) for slot in range(_SLOTS)]
    return max((count for count in found if count is not None), default=None)


def _encode(magic: bytes, stream: bytes, count: int) -> bytes:
    fields = _FIELDS.pack(magic, stream, count)
    return fields + _CRC.pack(crc32(fields))


def _decode(page: bytes, start: int, magic: bytes, stream: bytes) -> int | None:
    """The count in one slot, None for a slot that is torn or another stream's."""
    fields, checksum = page[start : start + _FIELDS.size], page[start + _FIELDS.size :][: _CRC.size]
    if len(checksum) < _CRC.size or checksum != _CRC.pack(crc32(fields)):
        return None
    found_magic, found_stream, count = _FIELDS.unpack(fields)
    return int(count) if (found_magic, found_stream) == (magic, stream) else None
