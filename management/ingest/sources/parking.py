"""One stream between the log and the loop: what comes next, what came too early, what is missing. Pure.

Messages of a stream come in any order and number: a shipper that was killed sends again, one that was told to go back
sends again from there, a broker may have lost some. `Stream` makes of them runs without a hole (`take`), keeps what
came too early as far as there is room, and says what it knows as evidence (`evidence`).
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from management.ingest.batch import Gap, StreamRead
from shared.journal import FIRST_SEQ
from shared.topics import Record

MAX_SEQ: Final = (1 << 63) - 2
"""The largest seq whose successor Postgres can hold as a position."""
PARKED_RECORDS: Final = 100_000
PARKED_BYTES: Final = 128 << 20
"""What all streams of a process may park together; what does not fit is passed over, the shipper has it."""
PARKED_GAPS: Final = 1_000  # of one stream
_MARKS: Final = 64


@dataclass(slots=True)
class Tally:
    """What all streams of a process hold together, and what became of messages."""

    ready: int = 0
    ready_bytes: int = 0
    parked: int = 0
    parked_bytes: int = 0
    repeats: int = 0
    passed_over: int = 0


class Evidence(NamedTuple):
    """Everything of the stream below `offset` of its partition is accounted for in `next_seq`."""

    next_seq: int
    offset: int


class _Mark(NamedTuple):
    """Messages from offset `first` up to `end` led to `next_seq`; needed until evidence of that is on its topic."""

    next_seq: int
    first: int
    end: int


class Stream:
    """`stored`: its position in Postgres, None when it has none yet.

    `given` follows what `take` gave, `next_seq` what it can give, `seen` the largest seq met. So a gap stands while
    `seen` is larger than `next_seq`.
    """

    __slots__ = (
        "_early", "_gaps", "_known", "_marks", "_parked", "_ready", "_ready_gaps", "_tally", "announced", "given", "id",
        "losses_booked", "next_seq", "published", "seen", "stored",
    )  # fmt: skip

    def __init__(self, stream: bytes, stored: int | None, tally: Tally) -> None:
        self.id = stream
        self.stored = self.given = self.next_seq = self.seen = FIRST_SEQ if stored is None else stored
        self.published: Evidence | None = None
        self.announced: object = None  # as whoever keeps the books last stored it
        self.losses_booked = 0
        self._known = stored is not None
        self._tally = tally
        self._ready: list[Record] = []
        self._ready_gaps: list[Gap] = []
        self._parked: dict[int, Record] = {}
        self._gaps: list[Gap] = []
        self._marks: deque[_Mark] = deque()
        self._early: int | None = None  # the offset at which parking began, until all of it is stored

    @property
    def has_gap(self) -> bool:
        return self.seen > self.next_seq

    @property
    def is_settled(self) -> bool:
        """Everything accepted is stored, so evidence of its whole partition can be given."""
        return self.stored == self.next_seq

    def has_stored(self, next_seq: int) -> bool:
        """Postgres has everything before `next_seq`."""
        return self.stored >= next_seq

    @property
    def is_at_rest(self) -> bool:
        """Nothing is known of it that Postgres and the topic of evidence do not know."""
        return self.is_settled and not self.has_gap and not self._marks

    @property
    def parked(self) -> int:
        return len(self._parked)

    def record(self, record: Record, offset: int) -> bool:
        """Take in what stands at `offset`; False when it is a repeat."""
        seq = record.seq
        if seq < self.next_seq or seq in self._parked:
            self._tally.repeats += 1
            return False
        self.seen = max(self.seen, seq + 1)
        if seq == self.next_seq:
            self._accept(record)
            if self._parked or self._gaps:
                self._draw()
        elif self._tally.parked < PARKED_RECORDS and self._tally.parked_bytes + len(record.payload) <= PARKED_BYTES:
            self._parked[seq] = record
            self._tally.parked += 1
            self._tally.parked_bytes += len(record.payload)
            self._note_early(offset)
        else:
            self._tally.passed_over += 1
        return True

    def gap(self, gap: Gap, offset: int) -> bool:
        """Take in that seqs can be read nowhere, as far as they are not there all the same; False: a repeat."""
        if gap.last < self.next_seq or gap in self._gaps:
            self._tally.repeats += 1
            return False
        self.seen = max(self.seen, gap.last + 1)
        if gap.first <= self.next_seq or len(self._gaps) < PARKED_GAPS:
            self._gaps.append(gap)
            self._draw()
            if self._gaps:
                self._note_early(offset)
        else:
            self._tally.passed_over += 1
        return True

    def finished_at(self, next_seq: int) -> None:
        """Everything before `next_seq` has been sent, so what is not here is missing."""
        self.seen = max(self.seen, next_seq)

    def take(self, records: int, size: int) -> StreamRead | None:
        """The next run: at most `records` records and, but for the last one, less than `size` bytes of payload."""
        if self.given == self.next_seq:
            return None
        count = taken = 0
        for record in islice(self._ready, records):
            count += 1
            taken += len(record.payload)
            if taken >= size:
                break
        end = self.next_seq if count == len(self._ready) else self._ready[count].seq
        gaps = [gap for gap in self._ready_gaps if gap.last < end]
        read = StreamRead(self.id, self.given, end, self._known, self._ready[:count], gaps)
        del self._ready[:count], self._ready_gaps[: len(gaps)]
        self._tally.ready -= count
        self._tally.ready_bytes -= taken
        self.given, self._known = end, True
        return read

    def settle(self, position: int) -> None:
        """Postgres has everything before `position`."""
        self.stored = position
        if self.is_settled and not self._parked and not self._gaps:
            self._early = None

    def forget(self) -> None:
        """Give back the room it holds; what was given is still reported by `settle`."""
        self._tally.ready -= len(self._ready)
        self._tally.ready_bytes -= sum(len(record.payload) for record in self._ready)
        self._tally.parked -= len(self._parked)
        self._tally.parked_bytes -= sum(len(record.payload) for record in self._parked.values())
        self._ready, self._ready_gaps, self._parked, self._gaps = [], [], {}, []
        self.next_seq = self.given

    def note(self, first: int, end: int) -> None:
        """Messages of it stood between the offsets `first` and `end`, and have all been taken in."""
        if len(self._marks) >= _MARKS:
            first = self._marks.pop().first
        self._marks.append(_Mark(self.next_seq, first, end))

    def begin_again(self, offset: int) -> None:
        """Its partition's log is another one, read from `offset` on: what stood where, means nothing any more."""
        self._marks.clear()
        self.published = None
        if not self.is_settled:
            self._marks.append(_Mark(self.next_seq, offset, offset))
            self._early = offset
        elif self._early is not None:
            self._early = offset

    @property
    def unproven_from(self) -> int | None:
        """Offset of the first message that is not stored, or of which no evidence is on its topic; None: of none."""
        return self._marks[0].first if self._marks else None

    def evidence(self, read_to: int) -> Evidence:
        """What may be said now that the partition is read up to `read_to`.

        While something is on its way to Postgres the offset stays below it: what is not stored yet is not missing.
        """
        if self.is_settled:
            return Evidence(self.stored, read_to)
        offset = next((mark.first for mark in self._marks if mark.next_seq > self.stored), read_to)
        return Evidence(self.stored, offset if self._early is None else min(offset, self._early))

    def prove(self, evidence: Evidence) -> None:
        """The evidence is on its topic."""
        self.published = evidence
        while self._marks and self._marks[0].next_seq <= evidence.next_seq and self._marks[0].end <= evidence.offset:
            self._marks.popleft()

    def _accept(self, record: Record) -> None:
        self._ready.append(record)
        self._tally.ready += 1
        self._tally.ready_bytes += len(record.payload)
        self.next_seq = record.seq + 1

    def _draw(self) -> None:
        """Accept what was parked and follows now; a record inside a gap is there all the same."""
        ordered: list[int] | None = None
        while True:
            record = self._parked.pop(self.next_seq, None)
            if record is not None:
                self._tally.parked -= 1
                self._tally.parked_bytes -= len(record.payload)
                self._accept(record)
                continue
            gap = next((gap for gap in self._gaps if gap.first <= self.next_seq <= gap.last), None)
            if gap is None:
                break
            if ordered is None:
                ordered = sorted(self._parked)
            place = bisect_right(ordered, self.next_seq)
            last = min(gap.last, ordered[place] - 1) if place < len(ordered) else gap.last
            self._ready_gaps.append(Gap(self.next_seq, last, gap.reason))
            self.next_seq = last + 1
        self._gaps = [gap for gap in self._gaps if gap.last >= self.next_seq]

    def _note_early(self, offset: int) -> None:
        if self._early is None:
            self._early = offset
