"""Keeping a root tidy for whoever consumes its streams: deletes what is old enough or in the way, tells the writers
how far they are consumed, and finds what the writers declared lost."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from shared.journal.consumed import END, Mark, write_consumed
from shared.journal.limits import JournalLimits, free_bytes
from shared.journal.loss_page import read_losses
from shared.journal.meter import JournalMeter
from shared.journal.retention import delete_consumed, delete_stillborn, kept_segments, trim

STILLBORN_SECONDS: Final = 600.0
_MOST_MARKS: Final = 1_024


class Consumed(NamedTuple):
    """What is known of a stream: consumed before `next_seq`, which begins at `mark` (None: not known)."""

    next_seq: int
    mark: Mark | None
    losses_stored: int
    """Of its declared losses; the stream's last segment stays until they are all stored, with -1 whatever they are."""


class Tidied(NamedTuple):
    losses: dict[bytes, int]
    """By stream, what its writer declared lost, where that is more than is stored."""
    unconsumed_bytes: int
    trimmed_bytes: int


class Marks:
    """Where in the files the reads of streams ended; belongs to the reading thread.

    A stream keeps a bounded number: a long one that nobody consumes has fewer, further apart.
    """

    def __init__(self) -> None:
        self._marks: dict[bytes, deque[tuple[int, Mark]]] = {}

    def remember(self, stream: bytes, next_seq: int, mark: Mark | None) -> None:
        """`next_seq` begins at `mark`. A read that begins again further back forgets what lies behind it."""
        if mark is None:
            return
        marks = self._marks.setdefault(stream, deque())
        while marks and marks[-1][0] >= next_seq:
            marks.pop()
        marks.append((next_seq, mark))
        if len(marks) > _MOST_MARKS:
            self._marks[stream] = deque(list(marks)[::2])

    def at(self, stream: bytes, next_seq: int) -> Mark | None:
        """The last remembered place at or before `next_seq`, which never goes back from one call to the next."""
        marks = self._marks.get(stream, deque())
        while len(marks) > 1 and marks[1][0] <= next_seq:
            marks.popleft()
        return marks[0][1] if marks and marks[0][0] <= next_seq else None

    def forget(self, stream: bytes) -> None:
        self._marks.pop(stream, None)


class Tidier:
    """Not thread safe: one thread at a time."""

    def __init__(self, root: Path, keep_seconds: float, limits: JournalLimits) -> None:
        """Consumed segments are kept for `keep_seconds`, unless they are in the way of `limits`."""
        self._root = root
        self._keep_seconds = keep_seconds
        self._limits = limits
        self._meter = JournalMeter(root)
        self._told: dict[bytes, tuple[int, Mark]] = {}

    def tidy(self, streams: Mapping[bytes, Consumed], now: float) -> Tidied:
        """`now` is in the file system's time (`time.time()`). Raises OSError."""
        losses: dict[bytes, int] = {}
        for stream, consumed in streams.items():
            path = self._root / stream.hex()
            found = read_losses(path)
            if found > consumed.losses_stored:
                losses[stream] = found
            delete_consumed(path, consumed.next_seq, self._keep_seconds, now, consumed.losses_stored)
        delete_stillborn(self._root, STILLBORN_SECONDS, now)
        untold = self._tell_writers(streams)
        trimmed, unconsumed = self._make_room(streams)
        if untold is not None:
            raise untold
        return Tidied(losses, unconsumed, trimmed)

    def is_gone(self, stream: bytes) -> bool:
        """Whether nothing of the stream is there any more; then it is forgotten."""
        if (self._root / stream.hex()).exists():
            return False
        self._told.pop(stream, None)
        return True

    def _tell_writers(self, streams: Mapping[bytes, Consumed]) -> OSError | None:
        """Gives what went wrong: on a full disk it takes the room that is made next."""
        untold = None
        for stream, (next_seq, mark, _) in streams.items():
            if mark is None or self._told.get(stream) == (next_seq, mark):
                continue
            try:
                write_consumed(self._root / stream.hex(), next_seq, mark)
            except FileNotFoundError:  # deleted
                continue
            except OSError as error:
                untold = error
                continue
            self._told[stream] = (next_seq, mark)
        return untold

    def _make_room(self, streams: Mapping[bytes, Consumed]) -> tuple[int, int]:
        """Trims what is consumed and only kept: to half of the journal's limit, and further when the disk is short.
        Gives the bytes trimmed and those not consumed."""
        unconsumed = self._meter.unconsumed_bytes()
        kept = [
            segment
            for stream, consumed in streams.items()
            for segment in kept_segments(
                self._root / stream.hex(),
                consumed.next_seq,
                finished=consumed.mark == END,
                losses_stored=consumed.losses_stored,
            )
        ]
        if not kept:
            return 0, unconsumed
        too_many = sum(segment.size for segment in kept) - self._limits.max_bytes // 2
        too_little = self._limits.wanted_free(unconsumed) - free_bytes(self._root)
        return trim(kept, max(too_many, too_little)), unconsumed
