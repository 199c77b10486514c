"""Where a stream grows: its open segment, the rotation to the next one, and what a disk that fails makes of both."""

from collections.abc import Callable, Sequence
from pathlib import Path

from shared.journal.segment import LAST_RESERVE_BYTES, CutShort, NoRoom, OpenSegment
from shared.journal.stream import SegmentName, sync_directory


class Tail:
    """One thread owns it at a time. With `durable`, what is stored has been synced.

    After a failed write or sync nobody knows what of the segment reached the disk, and a second sync may report
    success without it: the segment is left as it is, and everything in it that was not confirmed is written again,
    with the same seqs, to a new one. A reader takes each seq from whichever of the two it meets first; the bytes are
    the same.
    """

    def __init__(
        self,
        path: Path,
        stream: bytes,
        segment: OpenSegment,
        name: SegmentName,
        segment_bytes: int,
        *,
        durable: bool,
        retire: Callable[[OpenSegment], None],
    ) -> None:
        """`segment` is open under `name`. `retire` gets each segment that is full, from the thread that owns this, and
        sees to it that `finish` gets it in a thread that may wait."""
        self._path = path
        self._stream = stream
        self._segment = segment
        self._name = name
        self._segment_bytes = segment_bytes
        self._durable = durable
        self._retire = retire
        self.abandoned = 0
        """Segments that were left after a failed write or sync."""

    @property
    def least_free(self) -> int:
        """Free space below which the next reservation may fail."""
        return 2 * self._segment.step + LAST_RESERVE_BYTES

    def append(self, records: Sequence[bytes], first_seq: int, *, from_reserve: bool) -> int:
        """Stores `records`, the first of which has `first_seq`. Gives how many: fewer when there is no room.

        No reader has seen or will see anything of those that were not stored, so their seqs may be used again.
        `from_reserve`: only the last reserve may be used. Raises OSError when a new segment failed as well; then
        nothing may be appended any more.
        """
        piece = b"".join(records)
        try:
            segment = self._with_room(len(piece), first_seq, from_reserve)
            segment.write(piece)
            if self._durable:
                segment.sync()
        except NoRoom:
            return 0
        except CutShort as cut:
            return self._keep_whole(records, cut.written, first_seq)
        except OSError:
            self._start_over(piece, first_seq)
        return len(records)

    def _with_room(self, size: int, first_seq: int, from_reserve: bool) -> OpenSegment:
        segment = self._segment
        if from_reserve:
            if not segment.has_last_room(size):
                raise NoRoom("the last reserve is used up")
        elif segment.size + size > segment.room_to and not segment.make_room(size):
            # The full one is let go only when there is a new one: its last reserve may still be needed.
            self._begin(first_seq, size)
            self._retire(segment)
        return self._segment

    def _begin(self, first_seq: int, size: int) -> None:
        former = self._name
        self._name = SegmentName(first_seq, former.attempt + 1 if former.first_seq == first_seq else 0)
        try:
            self._segment = OpenSegment.create(
                self._path, self._stream, self._name, self._segment_bytes, room=size, durable=self._durable
            )
        except NoRoom:
            self._name = former
            raise

    def _keep_whole(self, records: Sequence[bytes], written: int, first_seq: int) -> int:
        # A reader may have taken every record that the write completed, so those are stored, whatever comes. The one
        # that was torn looks to it like one that is just being written, until the next write covers it.
        whole: list[bytes] = []
        for record in records:
            written -= len(record)
            if written < 0:
                break
            whole.append(record)
        piece = b"".join(whole)
        self._segment.keep(len(piece))
        if self._durable and whole:
            try:
                self._segment.sync()
            except OSError:
                self._start_over(piece, first_seq)
        return len(whole)

    def _start_over(self, piece: bytes, first_seq: int) -> None:
        self._segment.close()
        self._begin(first_seq, len(piece))
        self._segment.write(piece)
        if self._durable:
            self._segment.sync()
        self.abandoned += 1

    def finish(self, full: OpenSegment) -> None:
        """Ends a segment that `retire` got. Raises OSError."""
        if not self._durable:
            full.sync()
        full.seal()
        if not self._durable:
            sync_directory(self._path)

    def end(self) -> None:
        """Syncs and closes the last segment. Raises OSError."""
        self._segment.sync()
        self._segment.seal()

    def close(self) -> None:
        """Lets go of the last segment as it is."""
        self._segment.close()
