"""durability=os: an answer waits for the write(2) that carries its record; it survives a killed process, not a power cut.

The records of one step of the loop go in one write: a write for each costs the click path more than the wait for the
step's end.
"""

from functools import partial

from shared.journal.segment import OpenSegment
from shared.journal.stream import sync_directory
from shared.journal.writer import JournalWriter


class WriteThroughWriter(JournalWriter, durability="os"):
    """See `JournalWriter`. The loop owns the open segment; the thread gets segments that are full."""

    def _hand_over(self) -> None:
        records, waiters = self._records, self._waiters
        self._records, self._waiters, self._busy = [], [], False
        if not records:
            return  # closing was quicker
        piece = b"".join(records)
        try:
            segment = self._segment
            if segment.size + len(piece) > segment.room_to and not segment.make_room(len(piece)):
                segment = self._rotate(self._next_seq - len(records), len(piece))
            segment.write(piece)
        except OSError as failure:
            self._refuse(waiters, failure)
        else:
            self._answer(waiters, self._next_seq)

    def _rotate(self, first_seq: int, size: int) -> OpenSegment:
        # Nothing here waits for the disk: a sync would stall every request of the worker, and `os` promises none.
        full = self._segment
        segment = self._next_segment(first_seq, size, durable=False)
        self._tasks.put(partial(self._retire, full))
        return segment

    def _finish_open_records(self) -> None:
        self._hand_over()
        self._tasks.put(None)

    # In the thread.

    def _retire(self, full: OpenSegment) -> None:
        try:
            full.sync()
            full.seal()
            sync_directory(self.path)
        except OSError as failure:
            self._loop.call_soon_threadsafe(self._fail, failure)
