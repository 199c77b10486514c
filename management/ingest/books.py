"""What a batch books for each stream, before and after Postgres said what was new. Pure.

A position's move books every record of a batch as a new row; only where some were there already, the columns are
put right in the same transaction. So the usual batch costs no statement more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from management.ingest.batch import DeadLetter, Lost, Move


class Announced(NamedTuple):
    """What a stream's writer says of itself, and the source of what it read."""

    last_seq: int
    """The last that the writer knows to be synced."""
    finished: bool
    """It is gone, and everything that it left is read."""
    parked: int = 0
    """Records read beyond a gap and held back."""


class Entry(NamedTuple):
    """One stream's share of a batch, in records."""

    stream: bytes
    rows: int
    dead: int
    lost: int


class Correction(NamedTuple):
    """Rows and dead letters that were there already: they move to `repeated`."""

    stream: bytes
    rows: int
    dead: int


def entries(moves: Iterable[Move], dead: Iterable[DeadLetter], lost: Iterable[Lost]) -> list[Entry]:
    """In the order of `moves`."""
    letters = Counter(letter.stream for letter in dead)
    gaps: Counter[bytes] = Counter()
    for stream, gap in lost:
        gaps[stream] += gap.last - gap.first + 1
    return [
        Entry(stream, next_seq - expected - letters[stream] - gaps[stream], letters[stream], gaps[stream])
        for stream, expected, next_seq, _ in moves
    ]


def corrections(
    booked: Iterable[Entry], new_rows: Mapping[bytes, int], new_letters: Mapping[bytes, int]
) -> list[Correction]:
    """What of `booked` was not new."""
    found = (
        Correction(stream, rows - new_rows.get(stream, 0), dead - new_letters.get(stream, 0))
        for stream, rows, dead, _ in booked
    )
    return [correction for correction in found if correction.rows or correction.dead]
