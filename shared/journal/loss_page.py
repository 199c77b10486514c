"""How many clicks a stream's writer answered without recording them: a `CountPage`, synced in the commit that the
answer waits for. Of a slot that a crash tore the one before it is right, because nobody was answered yet for it."""

from pathlib import Path
from typing import Final

from shared.journal.count_page import CountPage, read_count
from shared.journal.stream import LOSSES_NAME

_MAGIC: Final = b"\xf5mploss\n"
_SLOT_BYTES: Final = 4096
"""A memory page: what is synced for an answer shares none with what it replaces."""


def create_losses(directory: Path, stream: bytes) -> CountPage:
    """A page that declares no loss. Raises OSError."""
    return CountPage.create(directory / LOSSES_NAME, _MAGIC, stream, _SLOT_BYTES)


def read_losses(path: Path) -> int:
    """How many clicks the writer of the stream at `path` declared lost; 0 when it left no page. Raises OSError."""
    return read_count(path, LOSSES_NAME, _MAGIC, _SLOT_BYTES) or 0
