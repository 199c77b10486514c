"""How far a stream is consumed, as its consumer tells the writers: `consumed` in the stream's directory.

One line, `<first seq not consumed> <segment> <offset>`: everything before that byte of that segment is consumed;
`<first seq> end` once nothing follows. It is a hint, never needed to read a stream: where it is missing or damaged,
nothing counts as consumed.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from shared.journal.line import read_line, write_line
from shared.journal.stream import CONSUMED_NAME, SegmentName

_LINE: Final = re.compile(r"([0-9]{1,20}) (?:end|(\S+) ([0-9]{1,20}))")


class Mark(NamedTuple):
    """A byte of a stream."""

    segment: SegmentName
    offset: int


END: Final = Mark(SegmentName(1 << 63), 0)
"""Behind everything: the stream is finished."""


def write_consumed(path: Path, next_seq: int, mark: Mark) -> None:
    """Replaces what the stream at `path` says, in one step. Raises OSError."""
    where = "end" if mark == END else f"{mark.segment.file} {mark.offset}"
    write_line(path / CONSUMED_NAME, f"{next_seq} {where}")


def read_consumed(path: Path) -> Mark | None:
    """Where the unconsumed part of the stream at `path` begins; None when nobody said. Raises OSError."""
    match = read_line(path / CONSUMED_NAME, _LINE)
    if match is None:
        return None
    if match[2] is None:
        return END
    segment = SegmentName.parse(match[2])
    return None if segment is None else Mark(segment, int(match[3]))


def read_consumed_seq(path: Path) -> int | None:
    """The first seq of the stream at `path` that is not consumed; None when nobody said. Raises OSError."""
    match = read_line(path / CONSUMED_NAME, _LINE)
    return match and int(match[1])
