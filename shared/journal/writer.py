"""The journal of one worker's life: what both durabilities share, from the stream's birth to its release.

`group_commit.py` and `write_through.py` hold the two ways in which a record reaches the disk. A writer belongs to
the event loop it was opened in; beside the loop it has one thread, which alone waits for the disk.
"""

import asyncio
import os
import shutil
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from shared.journal.record import FIRST_SEQ, encode
from shared.journal.segment import OpenSegment
from shared.journal.stream import Birth, conceive, reveal

Durability = Literal["fsync", "os"]
SEGMENT_BYTES = 64 << 20


_ways: "dict[Durability, type[JournalWriter]]" = {}  # filled by the subclasses; the package imports them all


class JournalFailed(Exception):
    """The record has no durable copy and will get none: the journal failed before or with it, or was closed."""


class JournalWriter(ABC):
    """Appends records to a stream of its own, which nobody wrote to before and nobody will again.

    After the first failure of the disk nothing is appended any more: what a failed sync left behind cannot be
    known, so the worker ends (`on_failure`) and its successor begins a new stream.
    """

    stream: bytes
    """The stream's id, 16 bytes."""

    def __init_subclass__(cls, durability: Durability) -> None:
        _ways[durability] = cls

    def __init__(
        self,
        birth: Birth,
        path: Path,
        segment: OpenSegment,
        segment_bytes: int,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.stream = birth.stream
        self.path = path
        self._lock_fd = birth.lock_fd
        self._segment = segment
        self._segment_bytes = segment_bytes
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._new_waiter = self._loop.create_future
        self._records: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._busy = False
        self._next_seq = FIRST_SEQ
        self._durable_seq = FIRST_SEQ - 1
        self._last_sync_at = time.monotonic()
        self._refusal: BaseException | str | None = None
        self._released: asyncio.Future[None] | None = None
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve_disk, name="journal", daemon=True)
        self._thread.start()
        _living.add(self)

    @staticmethod
    def open(
        root: Path,
        durability: Durability,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        on_failure: Callable[[BaseException], None],
    ) -> "JournalWriter":
        """A writer on a new stream under `root`, whose names are on the disk before this returns.

        Call it inside the running loop that will append. `on_failure` is called once, in the loop, with the first
        error of the disk. Raises OSError when the stream cannot be made; nothing of it is left then.
        """
        birth = conceive(root)
        try:
            segment = OpenSegment.create(birth.hidden, birth.stream, FIRST_SEQ, segment_bytes, durable=True)
            path = reveal(birth)
            return _ways[durability](birth, path, segment, segment_bytes, on_failure)
        except BaseException:
            os.close(birth.lock_fd)
            shutil.rmtree(birth.hidden, ignore_errors=True)
            raise

    def append(self, kind: int, payload: bytes) -> asyncio.Future[None]:
        """Takes one record, which gets the seq that `next_seq` showed.

        Gives a future, the caller's own, that completes after the fdatasync (`fsync`) or the write(2) (`os`) which
        covers the record, or fails with `JournalFailed`; the record is kept even when the waiter is cancelled.
        Raises `JournalFailed` after a failure or `close`, `PayloadRefused` for a payload no record can hold; then no
        seq was used up.
        """
        if self._refusal is not None:
            raise self._refused()
        seq = self._next_seq
        self._records.append(encode(seq, kind, payload))
        self._next_seq = seq + 1
        waiter = self._new_waiter()
        self._waiters.append(waiter)
        if not self._busy:
            # In a later step, so that all records of this one go together.
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return waiter

    @abstractmethod
    def _hand_over(self) -> None:
        """Sends the open records on their way, in the loop, and sees to it that `_busy` is False again."""

    def _answer(self, waiters: Iterable[asyncio.Future[None]], next_seq: int) -> None:
        self._durable_seq = next_seq - 1
        self._last_sync_at = time.monotonic()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _refuse(self, waiters: Iterable[asyncio.Future[None]], failure: BaseException) -> None:
        for waiter in waiters:
            if not waiter.done():
                refusal = JournalFailed(str(failure))
                refusal.__cause__ = failure
                waiter.set_exception(refusal)
        self._fail(failure)

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def synced_seq(self) -> int:
        """The last seq that is as durable as was asked for, FIRST_SEQ - 1 before the first."""
        return self._durable_seq

    @property
    def last_sync_at(self) -> float:
        """When a record last became durable (at first: when the stream was opened), by `time.monotonic()`."""
        return self._last_sync_at

    async def close(self) -> None:
        """Commits what is open, then lets the stream go: from then on readers know that nothing follows.

        After a failure it only releases. Appending is refused from the moment of the call.
        """
        if self._released is None:
            self._released = self._loop.create_future()
            self._refusal = self._refusal or "the journal is closed"
            self._finish_open_records()
        await asyncio.shield(self._released)

    @abstractmethod
    def _finish_open_records(self) -> None:
        """Sees to it that `_release` is queued behind the last record."""

    def _refused(self) -> JournalFailed:
        refusal = JournalFailed(str(self._refusal))
        if isinstance(self._refusal, BaseException):
            refusal.__cause__ = self._refusal
        return refusal

    def _fail(self, failure: BaseException) -> None:
        if not isinstance(self._refusal, BaseException):
            self._refusal = failure
            # In a step of its own: whatever it does, it does not do inside somebody's `append`.
            self._loop.call_soon(self._on_failure, failure)

    def _next_segment(self, first_seq: int, size: int, *, durable: bool) -> OpenSegment:
        """The segment that begins with `first_seq`, with room for a first write of `size` bytes."""
        segment = OpenSegment.create(self.path, self.stream, first_seq, self._segment_bytes, durable=durable)
        self._segment = segment
        segment.make_room(size)
        return segment

    # In the thread.

    def _serve_disk(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        self._release()

    def _release(self) -> None:
        failure: BaseException | None = None
        try:
            if isinstance(self._refusal, BaseException):
                self._segment.close()
            else:
                self._segment.sync()
                self._segment.seal()
        except OSError as error:
            failure = error
        os.close(self._lock_fd)
        self._lock_fd = -1
        self._loop.call_soon_threadsafe(self._when_released, failure)

    def _when_released(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._fail(failure)
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    def _abandon_in_child(self) -> None:
        # A forked child shares the lock and would keep a dead worker's stream alive; closing its copies of the
        # descriptors takes nothing from the parent.
        self._refusal = JournalFailed("the journal belongs to the parent process")
        self._segment.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


_living: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()


def _abandon_all_in_child() -> None:
    for writer in list(_living):
        writer._abandon_in_child()


os.register_at_fork(after_in_child=_abandon_all_in_child)
