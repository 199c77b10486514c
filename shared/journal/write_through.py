"""durability=os: an answer waits for the write(2) that carries its record; it survives a killed process, not a power cut.

The records of one step of the loop go in one write: a write for each costs the click path more than the wait for the
step's end.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from shared.journal.record import FIRST_SEQ, encode
from shared.journal.segment import OpenSegment
from shared.journal.stream import Birth, sync_directory
from shared.journal.writer import JournalFailed, JournalWriter


class WriteThroughWriter(JournalWriter, durability="os"):
    """See `JournalWriter`. The loop owns the open segment; the thread gets segments that are full."""

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
        self._written_seq = FIRST_SEQ - 1
        self._records: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def synced_seq(self) -> int:
        return self._written_seq

    def append(self, kind: int, payload: bytes) -> asyncio.Future[None]:
        if self._refusal is not None:
            raise self._refused()
        seq = self._next_seq
        record = encode(seq, kind, payload)
        if not self._records:
            self._loop.call_soon(self._write)
        self._records.append(record)
        self._next_seq = seq + 1
        waiter = self._new_waiter()
        self._waiters.append(waiter)
        return waiter

    def _write(self) -> None:
        records, waiters = self._records, self._waiters
        if not records:
            return
        self._records, self._waiters = [], []
        piece = b"".join(records)
        try:
            segment = self._segment
            if segment.size + len(piece) > segment.room_to and not segment.make_room(len(piece)):
                segment = self._rotate(self._next_seq - len(records), len(piece))
            segment.write(piece)
        except OSError as failure:
            self._fail(failure)
            for waiter in waiters:
                if not waiter.done():
                    refusal = JournalFailed(str(failure))
                    refusal.__cause__ = failure
                    waiter.set_exception(refusal)
            return
        self._written_seq = self._next_seq - 1
        self._last_sync_at = monotonic()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _rotate(self, first_seq: int, size: int) -> OpenSegment:
        # Nothing here waits for the disk: a sync would stall every request of the worker, and `os` promises none.
        full = self._segment
        segment = self._next_segment(first_seq, size, durable=False)
        self._tasks.put(partial(self._retire, full))
        return segment

    def _finish_open_records(self) -> None:
        self._write()
        self._tasks.put(None)

    # In the thread.

    def _retire(self, full: OpenSegment) -> None:
        try:
            full.sync()
            full.seal()
            sync_directory(self.path)
        except OSError as failure:
            self._loop.call_soon_threadsafe(self._fail, failure)
