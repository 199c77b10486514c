"""durability=os: a record is with the kernel when `append` returns; it survives a killed process, not a power cut."""

from functools import partial
from time import monotonic

from shared.journal.record import encode
from shared.journal.segment import OpenSegment
from shared.journal.stream import sync_directory
from shared.journal.writer import JournalWriter


class WriteThroughWriter(JournalWriter, durability="os"):
    """See `JournalWriter`. The loop owns the open segment; the thread gets segments that are full."""

    @property
    def synced_seq(self) -> int:
        return self._next_seq - 1

    def append(self, kind: int, payload: bytes) -> None:
        if self._refusal is not None:
            raise self._refused()
        seq = self._next_seq
        record = encode(seq, kind, payload)
        try:
            segment = self._segment
            if segment.size + len(record) > segment.room_to and not segment.make_room(len(record)):
                segment = self._rotate(seq, len(record))
            segment.write(record)
        except OSError as failure:
            self._fail(failure)
            raise self._refused() from failure
        self._next_seq = seq + 1
        self._last_sync_at = monotonic()

    def _rotate(self, first_seq: int, size: int) -> OpenSegment:
        # Nothing here waits for the disk: a sync would stall every request of the worker, and `os` promises none.
        full = self._segment
        segment = self._next_segment(first_seq, size, durable=False)
        self._tasks.put(partial(self._retire, full))
        return segment

    def _finish_open_records(self) -> None:
        self._tasks.put(None)

    # In the thread.

    def _retire(self, full: OpenSegment) -> None:
        try:
            full.sync()
            full.seal()
            sync_directory(self.path)
        except OSError as failure:
            self._loop.call_soon_threadsafe(self._fail, failure)
