"""durability=fsync: an answer waits for the fdatasync that covers its record; records share their syncs.

One group is with the disk at any time; the next one collects meanwhile. The loop hands a group over in a later
step than the one that brought its first record, so that all records of that step go together.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.journal.segment import OpenSegment
from shared.journal.stream import Birth
from shared.journal.writer import JournalWriter


class GroupCommitWriter(JournalWriter, durability="fsync"):
    """See `JournalWriter`. Its thread owns the segment; the loop owns everything else."""

    def __init__(
        self,
        birth: Birth,
        path: Path,
        segment: OpenSegment,
        segment_bytes: int,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        super().__init__(birth, path, segment, segment_bytes, on_failure)
        self._in_flight: list[asyncio.Future[None]] = []

    def _hand_over(self) -> None:
        if not self._records:
            self._busy = False
            if self._released is not None:
                self._tasks.put(None)
            return
        self._in_flight = self._waiters
        self._tasks.put(partial(self._commit, self._records, self._next_seq))
        self._records, self._waiters = [], []

    def _committed(self, next_seq: int) -> None:
        self._answer(self._in_flight, next_seq)
        self._in_flight = []
        # Queued behind the waiters just woken: what they append at once joins the next group.
        self._loop.call_soon(self._hand_over)

    def _commit_failed(self, failure: BaseException) -> None:
        waiters = self._in_flight + self._waiters
        self._in_flight, self._waiters, self._records = [], [], []
        self._refuse(waiters, failure)
        self._hand_over()

    def _finish_open_records(self) -> None:
        if not self._busy:
            self._hand_over()

    # In the thread.

    def _commit(self, records: list[bytes], next_seq: int) -> None:
        piece = b"".join(records)
        try:
            segment = self._segment
            if segment.size + len(piece) > segment.room_to and not segment.make_room(len(piece)):
                segment.seal()
                segment = self._next_segment(next_seq - len(records), len(piece), durable=True)
            segment.write(piece)
            segment.sync()
        except BaseException as failure:
            self._loop.call_soon_threadsafe(self._commit_failed, failure)
        else:
            self._loop.call_soon_threadsafe(self._committed, next_seq)
