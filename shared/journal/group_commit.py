"""durability=fsync: an answer waits for the fdatasync that covers its record; records share their syncs.

One group is with the disk at any time; the next one collects meanwhile. The loop hands a group over in a later
step than the one that brought its first record, so that all records of that step go together.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from shared.journal.record import FIRST_SEQ, encode
from shared.journal.segment import OpenSegment
from shared.journal.stream import Birth
from shared.journal.writer import JournalFailed, JournalWriter

_Waiters = list[asyncio.Future[None]]


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
        self._new_waiter = self._loop.create_future
        self._synced_seq = FIRST_SEQ - 1
        self._records: list[bytes] = []
        self._waiters: _Waiters = []
        self._in_flight: _Waiters = []
        self._busy = False

    @property
    def synced_seq(self) -> int:
        return self._synced_seq

    def append(self, kind: int, payload: bytes) -> asyncio.Future[None]:
        if self._refusal is not None:
            raise self._refused()
        seq = self._next_seq
        self._records.append(encode(seq, kind, payload))
        self._next_seq = seq + 1
        waiter = self._new_waiter()
        self._waiters.append(waiter)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return waiter

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
        self._synced_seq = next_seq - 1
        self._last_sync_at = monotonic()
        for waiter in self._in_flight:
            if not waiter.done():
                waiter.set_result(None)
        self._in_flight = []
        # Queued behind the waiters just woken: what they append at once joins the next group.
        self._loop.call_soon(self._hand_over)

    def _commit_failed(self, failure: BaseException) -> None:
        waiters = self._in_flight + self._waiters
        self._in_flight, self._waiters, self._records = [], [], []
        for waiter in waiters:
            if not waiter.done():
                refusal = JournalFailed(str(failure))
                refusal.__cause__ = failure
                waiter.set_exception(refusal)
        self._fail(failure)
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
