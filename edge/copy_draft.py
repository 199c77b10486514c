"""A whole copy of the routing table that is being written beside the one in use. Everything here blocks."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edge.copy_format import CopyError, encode_head, encode_line
from edge.table import RawRow

_LINES_AT_ONCE: Final = 200


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
        self._waiting = [encode_head()]

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
        write_all(self._descriptor, b"".join(waiting))

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


def write_all(descriptor: int, content: bytes) -> None:
    """Raises OSError; some of it may be written then."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
