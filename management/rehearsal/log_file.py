"""A log on disk as lines of bounded length, plain or gzip, whatever its name says."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from management.rehearsal.access_log import MAX_LINE
from management.rehearsal.errors import RehearsalError

_GZIP_MAGIC = b"\x1f\x8b"


class LogFile:
    """An open log. `size` and `position` are bytes on disk, so that progress is known without counting lines."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.damage: str | None = None
        self.size = os.fstat(raw.fileno()).st_size
        compressed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        self._lines: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if compressed else raw

    @property
    def position(self) -> int:
        return self._raw.tell()

    def __iter__(self) -> Iterator[bytes]:
        """Lines; of one that is longer than MAX_LINE the first MAX_LINE + 1 bytes. Ends early where the log is damaged,
        and `damage` says why then."""
        try:
            while line := self._lines.readline(MAX_LINE + 1):
                yield line
                while len(line) > MAX_LINE and not line.endswith(b"\n"):
                    line = self._lines.readline(MAX_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            self.damage = str(error)


@contextmanager
def open_log(path: Path) -> Iterator[LogFile]:
    """The log at `path`; raises RehearsalError in one sentence when there is none that can be read."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise RehearsalError(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        yield LogFile(raw)
