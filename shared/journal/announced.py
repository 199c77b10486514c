"""The last seq that a stream's writer knows to be synced, as it says itself: `announced` in the stream's directory.

The books count up to it, so that records whose files are cut or taken away are missed. The writer says it once a
second and at its end, in its own thread: never above what is synced, at most about a second behind. The page is not
synced, so a power cut may put it back, never forward of what was told.
"""

import errno
from pathlib import Path
from typing import Final

from shared.journal.count_page import CountPage, read_count
from shared.journal.stream import ANNOUNCED_NAME

_MAGIC: Final = b"\xf5mpsaid\n"
_SLOT_BYTES: Final = 512
"""A sector: both fit one page, so the file is the smallest there is. A stream is born on disks that have little more."""


def create_announced(directory: Path, stream: bytes) -> CountPage:
    """A page that announces no record. Raises OSError."""
    return CountPage.create(directory / ANNOUNCED_NAME, _MAGIC, stream, _SLOT_BYTES)


def read_announced(path: Path) -> int | None:
    """The last seq that the writer of the stream at `path` said to be synced, FIRST_SEQ - 1 before the first; None
    where it left no readable word, or on a bad sector. Raises OSError."""
    try:
        return read_count(path, ANNOUNCED_NAME, _MAGIC, _SLOT_BYTES)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
