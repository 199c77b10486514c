"""How far a stream is shipped, as the shipper remembers it across its restarts: `shipped` in the stream's directory.

One line, `<partition> <next seq> <end offset>`: everything before that seq was acknowledged in that partition below
that offset; `-` for an offset that nobody knows. The partition is the stream's for life. Never needed to read a
stream: where the file is missing or damaged, the stream is shipped again from what is known to be consumed.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from shared.journal.line import read_line, write_line
from shared.journal.stream import SHIPPED_NAME

_LINE: Final = re.compile(r"([0-9]{1,9}) ([0-9]{1,20}) ([0-9]{1,20}|-)")


class Shipped(NamedTuple):
    """`next_seq` was not acknowledged yet; what was lies below `end_offset` (None: not known)."""

    partition: int
    next_seq: int
    end_offset: int | None


def write_shipped(path: Path, shipped: Shipped) -> None:
    """Replaces what is remembered of the stream at `path`, in one step. Raises OSError."""
    offset = "-" if shipped.end_offset is None else shipped.end_offset
    write_line(path / SHIPPED_NAME, f"{shipped.partition} {shipped.next_seq} {offset}")


def read_shipped(path: Path) -> Shipped | None:
    """What is remembered of the stream at `path`; None when nothing is, or nothing readable. Raises OSError."""
    match = read_line(path / SHIPPED_NAME, _LINE)
    if match is None:
        return None
    return Shipped(int(match[1]), int(match[2]), None if match[3] == "-" else int(match[3]))
