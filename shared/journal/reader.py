"""Reading a stream from its files, while it is written and after: records in order, and the gaps that damage left.

What lies behind the last intact record of a living stream is simply not there yet. It is only judged once nothing
can change it any more: when the writer's lock was free, or a later segment was there, *before* the last look.
"""

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from shared.journal.announced import read_announced
from shared.journal.consumed import Mark
from shared.journal.record import (
    FIRST_SEQ,
    HEAD_BYTES,
    MAX_RECORD,
    SEGMENT_HEADER_BYTES,
    Place,
    Record,
    SegmentHeader,
    UnknownVersion,
    take_run,
)
from shared.journal.segment_reading import SegmentFile
from shared.journal.stream import SegmentListing, SegmentName, WriterLock, stream_id

_SMALL_CHUNK = 2 * MAX_RECORD  # a live tail: little to read, most of it reserved space
_LARGE_CHUNK = 1 << 20  # catching up
_NOTHING = bytes(HEAD_BYTES)
_BEFORE_ALL = SegmentName(-1)


class Gap(NamedTuple):
    """Seqs first … last that were written, or at least numbered, and can be read nowhere in the stream.

    `damaged`: their segment goes on behind them. `missing`: it ends, or begins, without them, or is not there. What is
    missing at a stream's end is known from what its writer announced.
    """

    first: int
    last: int
    reason: Literal["damaged", "missing"]


class ReadBatch(NamedTuple):
    """Records and gaps that together cover every seq from the asked one up to `next_seq`, each once, ascending."""

    records: list[Record]
    gaps: list[Gap]
    next_seq: int
    finished: bool
    """The writer is dead and everything it left is covered: no later read gives more."""


class StreamReader:
    """Reads one stream from a seq on. Keeps at most two files open; never waits; not thread safe."""

    def __init__(self, path: Path, next_seq: int = FIRST_SEQ) -> None:
        """`path` as `streams` gives it. Raises ValueError when its name is no stream's."""
        self.stream = stream_id(path)
        self._path = path
        self._next_seq = max(next_seq, FIRST_SEQ)
        self._lock = WriterLock(path)
        self._listing = SegmentListing(path)
        self._passed_over: set[SegmentName] = set()
        self._segment: SegmentFile | None = None
        self._name = _BEFORE_ALL
        self._settled = False
        self._offset = 0
        self._expected = FIRST_SEQ
        self._chunk = b""
        self._chunk_start = 0
        self._chunk_size = _SMALL_CHUNK
        self._salvage: list[Place] = []
        self._looked_at_ns = -1

    def read(self, max_records: int, max_bytes: int) -> ReadBatch:
        """What follows, up to `max_records` and the record that reaches `max_bytes`: at least one if there is one.

        An empty batch that is not finished means "nothing yet". A vanished stream reads as finished. Raises OSError
        (but for unreadable sectors, which are damage) and `UnknownVersion`; the same call may then be repeated.
        """
        records: list[Record] = []
        gaps: list[Gap] = []
        room = max_bytes
        finished = False
        while len(records) < max_records and room > 0:
            try:
                if self._seek():
                    continue
                if taken := self._take(records, gaps, max_records - len(records), room):
                    room -= taken
                elif not self._settled:
                    # Whether more can come is asked before one more look: what was written in between is still seen.
                    if self._nothing_can_follow():
                        self._settled = True
                    elif not self._look_behind_live_damage():
                        break
                elif not self._look_behind_damage() and not self._enter_next_segment(gaps):
                    self._miss_what_was_announced(gaps)
                    finished = True
                    self.close()
                    break
            except (OSError, UnknownVersion):
                # What was taken before goes out first; the next call meets the trouble again.
                if not records and not gaps:
                    raise
                break
        return ReadBatch(records, gaps, self._next_seq, finished)

    @property
    def mark(self) -> Mark | None:
        """Where in the files the next read goes on; None while that is not known: at the start, behind damage."""
        if self._segment is None or self._salvage or self._expected != self._next_seq:
            return None
        return Mark(self._name, self._offset)

    # Steps of `read`. The place of reading is `_offset` in `_segment`, whose next record would be `_expected`;
    # `_expected` < `_next_seq` while the start is being sought.

    def _seek(self) -> bool:
        """Passes over records below the asked seq. False when it is reached, or none of them is in sight."""
        wanted = self._next_seq - self._expected
        return wanted > 0 and self._segment is not None and self._run(self._segment, [], wanted, _LARGE_CHUNK) > 0

    def _take(self, records: list[Record], gaps: list[Gap], max_records: int, max_bytes: int) -> int:
        """Moves on over records that are in sight. Gives their bytes, 0 at the tail or at damage."""
        if self._segment is None:
            return 0
        taken = 0
        if self._salvage:
            taken = self._take_salvaged(self._segment, records, gaps, max_records, max_bytes)
        if taken == 0 and self._expected == self._next_seq:
            taken = self._run(self._segment, records, max_records, max_bytes)
            self._next_seq = self._expected
        return taken

    def _run(self, segment: SegmentFile, records: list[Record], max_records: int, max_bytes: int) -> int:
        """Takes consecutive records from the chunk in memory, or from a fresh one."""
        taken = self._run_in_chunk(records, max_records, max_bytes)
        if taken == 0 and self._load_chunk(segment):
            taken = self._run_in_chunk(records, max_records, max_bytes)
        return taken

    def _run_in_chunk(self, records: list[Record], max_records: int, max_bytes: int) -> int:
        start = self._offset - self._chunk_start
        position, self._expected = take_run(self._chunk, start, self._expected, records, max_records, max_bytes)
        self._offset = self._chunk_start + position
        return position - start

    def _load_chunk(self, segment: SegmentFile) -> bool:
        """Reads on from `_offset`; False when nothing is written there."""
        if segment.read(HEAD_BYTES, self._offset) in (b"", _NOTHING):
            self._chunk, self._chunk_start, self._chunk_size = b"", self._offset, _SMALL_CHUNK
            return False
        self._chunk = segment.read(self._chunk_size, self._offset)
        self._chunk_start = self._offset
        self._chunk_size = min(2 * self._chunk_size, _LARGE_CHUNK)
        return True

    def _take_salvaged(
        self, segment: SegmentFile, records: list[Record], gaps: list[Gap], max_records: int, max_bytes: int
    ) -> int:
        taken = 0
        full = len(records) + max_records
        while self._salvage and taken < max_bytes and len(records) < full:
            place = self._salvage[-1]
            record = segment.read_place(place) if place.seq >= self._next_seq else None
            self._salvage.pop()
            if record is None:  # a repeat, or damaged since it was found
                continue
            if place.seq > self._next_seq:
                gaps.append(Gap(self._next_seq, place.seq - 1, "damaged"))
            records.append(record)
            taken += place.end - place.start
            self._next_seq = self._expected = place.seq + 1
        return taken

    def _nothing_can_follow(self) -> bool:
        """No writer will change the present segment (or bring a first one) any more."""
        return self._lock.is_free() or self._later_segment() is not None

    def _look_behind_live_damage(self) -> bool:
        """As `_look_behind_damage`, in a segment that is being written.

        A record that is just being written looks like damage, and its followers may become visible to a read that
        saw its place too early. But writes come in order: whatever lies before a record that one look found is
        complete in a second look. Only such places count, and only when the file changed since the last look.
        """
        segment = self._segment
        if segment is None:
            return False
        changed_at = segment.changed_at_ns()
        if changed_at == self._looked_at_ns:
            return False
        self._looked_at_ns = changed_at
        complete_to = max((place.end for place in segment.survivors(self._offset)), default=0)
        if not complete_to:
            return False
        self._salvage_from([place for place in segment.survivors(self._offset) if place.end <= complete_to])
        return True

    def _look_behind_damage(self) -> bool:
        """Finds what is intact behind the present place, in any order of place. False when nothing is."""
        if self._segment is None:
            return False
        places = list(self._segment.survivors(self._offset))
        if places:
            self._salvage_from(places)
        return bool(places)

    def _salvage_from(self, places: list[Place]) -> None:
        # In order of seq, not of place: a misplaced copy of a later record must not hide those in between. What
        # belongs to a later segment is left to it for the same reason.
        later = self._later_segment()
        self._begin_at(max(place.end for place in places), self._next_seq)
        wanted = [p for p in places if p.seq >= self._next_seq and (later is None or p.seq < later.first_seq)]
        self._salvage = sorted(wanted, key=attrgetter("seq"), reverse=True)

    def _enter_next_segment(self, gaps: list[Gap]) -> bool:
        """Goes to the segment that holds `_next_seq`, or the first after it. False when there is none."""
        while (name := self._following_segment()) is not None:
            segment = self._open(name)
            if segment is None:
                continue
            try:
                headed = segment.header() is not None
            except BaseException:
                segment.close()
                raise
            self._close_segment()
            self._segment, self._name = segment, name
            self._settled = False
            # The first record may have moved where the header is gone: it is looked for from 0.
            self._begin_at(SEGMENT_HEADER_BYTES if headed else 0, name.first_seq)
            if name.first_seq > self._next_seq:
                gaps.append(Gap(self._next_seq, name.first_seq - 1, "missing"))
                self._next_seq = name.first_seq
            return True
        return False

    def _miss_what_was_announced(self, gaps: list[Gap]) -> None:
        """The stream ends here. What its writer said to be synced beyond was taken away since."""
        announced = read_announced(self._path) if self._lock.free else None
        if announced is not None and announced >= self._next_seq:
            gaps.append(Gap(self._next_seq, announced, "missing"))
            self._next_seq = self._expected = announced + 1

    def _open(self, name: SegmentName) -> SegmentFile | None:
        try:
            segment = SegmentFile(self._path, name)
        except FileNotFoundError:  # deleted since it was listed
            self._passed_over.add(name)
            return None
        try:
            header = segment.header()
        except BaseException:
            segment.close()
            raise
        # Without a header the name tells what it would.
        if header not in (None, SegmentHeader(self.stream, name.first_seq)):
            segment.close()
            self._passed_over.add(name)
            return None
        return segment

    def _begin_at(self, offset: int, expected: int) -> None:
        self._offset, self._expected = offset, expected
        self._chunk, self._chunk_start, self._chunk_size = b"", offset, _SMALL_CHUNK
        self._salvage = []
        self._looked_at_ns = -1

    def _behind(self) -> Iterator[SegmentName]:
        return (name for name in self._listing.segments() if name > self._name and name not in self._passed_over)

    def _later_segment(self) -> SegmentName | None:
        """The first segment behind the present one. A file that is another one's does not count: nothing follows from
        it, neither that the present one is complete nor that seqs beyond its name lie elsewhere."""
        return next((name for name in self._behind() if self._is_ours(name)), None)

    def _is_ours(self, name: SegmentName) -> bool:
        segment = self._open(name)
        if segment is not None:
            segment.close()
        return segment is not None

    def _following_segment(self) -> SegmentName | None:
        """The last segment behind the present one that begins at or before `_next_seq`, else the next one."""
        following = self._later_segment()
        for name in self._behind():
            if name.first_seq <= self._next_seq:
                following = name
        return following

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def close(self) -> None:
        """Closes the files, as a finished read does by itself. An unfinished reader must not be used after it."""
        self._close_segment()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
