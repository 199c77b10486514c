"""The journal of one worker's life: what both durabilities share, from the stream's birth to its release.

`group_commit.py` and `write_through.py` hold the two ways in which a group reaches the disk, `open_stream.py` what it
meets there. A writer belongs to the event loop it was opened in; beside the loop it has one
thread, which alone waits for the disk.
"""

import asyncio
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar, Literal

from shared.journal.group import Done, Group, JournalFailed, JournalFull, Refusal, settle, take_back, tell
from shared.journal.limits import NO_LIMITS, JournalLimits, Space
from shared.journal.open_stream import OpenStream
from shared.journal.record import FIRST_SEQ, encode
from shared.journal.segment import OpenSegment

Durability = Literal["fsync", "os"]
SEGMENT_BYTES = 64 << 20
CHECK_SECONDS = 1.0
"""Between two looks at the space."""


_ways: "dict[Durability, type[JournalWriter]]" = {}  # filled by the subclasses; the package imports them all


class JournalWriter(ABC):
    """Appends records to a stream of its own, which nobody wrote to before and nobody will again.

    A failed write or sync is answered by a new segment (see `Tail`). When that fails too, nothing is appended any
    more: the worker ends (`on_failure`) and its successor begins a new stream. A journal that is full says so to each
    record and goes on when there is room again, which is looked at every second.
    """

    stream: bytes
    """The stream's id, 16 bytes."""
    _durable: ClassVar[bool]

    def __init_subclass__(cls, durability: Durability) -> None:
        _ways[durability] = cls

    def __init__(
        self, root: Path, limits: JournalLimits, segment_bytes: int, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._files = OpenStream.create(root, segment_bytes, durable=self._durable, retire=self._retire)
        self.stream = self._files.stream
        self.path = self._files.path
        self._space = Space(self.path, limits, self._files.tail.least_free)
        self._on_failure = on_failure

        self._records: list[bytes] = []
        self._waiters: list[Done] = []
        self._reserved: list[int] = []
        self._losses = 0
        self._losers: list[Done] = []
        self._busy = False
        self._next_seq = FIRST_SEQ
        self._durable_seq = FIRST_SEQ - 1
        self._durable_losses = 0
        self._last_sync_at = time.monotonic()

        self._ended: BaseException | str | None = None
        self._shut = False  # ended or full: one look on the way of each record
        self._released: asyncio.Future[None] | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._serve_disk, name="journal", daemon=True)
        self._thread.start()
        self._look_at_space()
        _living.add(self)

    @staticmethod
    def open(
        root: Path,
        durability: Durability,
        *,
        limits: JournalLimits = NO_LIMITS,
        segment_bytes: int = SEGMENT_BYTES,
        on_failure: Callable[[BaseException], None],
    ) -> "JournalWriter":
        """A writer on a new stream under `root`, whose names are on the disk before this returns.

        Call it inside the running loop that will append. `on_failure` is called once, in the loop, with the error
        that ended the journal. Raises OSError when the stream cannot be made; nothing of it is left then.
        """
        return _ways[durability](root, limits, segment_bytes, on_failure)

    # What the worker calls, in the loop.

    def take(self, kind: int, payload: bytes, done: Done, *, reserved: bool = False) -> None:
        """Takes one record; `done` hears what became of it. Its seq is `next_seq`, unless the disk turns out full.

        `done` is called in a later step of the loop than this one: after the fdatasync (`fsync`) or the write(2)
        (`os`) that covers the record. It must not raise. Raises `JournalFailed` after a failure or `close`,
        `JournalFull` while there is no room (with `reserved`, a record may use the last reserve and learns from
        `done` when that is used up) and `PayloadRefused` for a payload no record can hold; then nothing was taken,
        and `done` is not called.
        """
        if self._shut and (self._ended is not None or not reserved):
            raise self._refused()
        seq = self._next_seq
        self._records.append(encode(seq, kind, payload))
        self._next_seq = seq + 1
        self._waiters.append(done)
        if reserved:
            self._reserved.append(seq)
        if not self._busy:
            # In a later step, so that all records of this one go together.
            self._busy = True
            self._loop.call_soon(self._hand_over)

    def append(self, kind: int, payload: bytes, *, reserved: bool = False) -> asyncio.Future[None]:
        """As `take`, with a future, the caller's own, for `done`: the record is kept even when it is cancelled."""
        waiter = self._loop.create_future()
        self.take(kind, payload, partial(settle, waiter), reserved=reserved)
        return waiter

    def declare_lost(self, done: Done) -> None:
        """Counts one click that is answered without a record; `done` is called when the count is as durable as a
        record would be, in the same commit. Works on a full disk. Raises `JournalFailed` as `take` does."""
        if self._ended is not None:
            raise self._refused()
        self._losses += 1
        self._losers.append(done)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def synced_seq(self) -> int:
        """The last seq that is as durable as was asked for, FIRST_SEQ - 1 before the first."""
        return self._durable_seq

    @property
    def declared_losses(self) -> int:
        """How many losses are declared, as durably as was asked for."""
        return self._durable_losses

    @property
    def last_sync_at(self) -> float:
        """When something last became durable (at first: when the stream was opened), by `time.monotonic()`."""
        return self._last_sync_at

    @property
    def is_full(self) -> bool:
        return self._space.full is not None

    @property
    def full_because(self) -> str | None:
        """Which limit holds, for the log."""
        return self._space.full

    @property
    def abandoned_segments(self) -> int:
        """How often a failed write or sync was answered by a new segment."""
        return self._files.tail.abandoned

    async def close(self) -> None:
        """Commits what is open, then lets the stream go: from then on readers know that nothing follows.

        After a failure it only releases. Appending is refused from the moment of the call.
        """
        if self._released is None:
            self._released = self._loop.create_future()
            self._end(self._ended or "the journal is closed")
            if not self._busy:
                self._hand_over()
        await asyncio.shield(self._released)

    # Groups, in the loop.

    @abstractmethod
    def _hand_over(self) -> None:
        """Sends the open records on their way; sees to `_come_to_rest` when there are none."""

    def _has_open_records(self) -> bool:
        return bool(self._records or self._losers)

    def _gather(self) -> Group:
        records, reserved = self._records, self._reserved
        from_reserve = self._space.full is not None and len(reserved) == len(records)
        group = Group(
            self._next_seq - len(records), records, self._waiters, reserved, from_reserve, self._losses, self._losers
        )
        self._records, self._waiters, self._reserved, self._losers = [], [], [], []
        return group

    def _come_to_rest(self) -> None:
        self._busy = False
        if self._released is not None:
            self._tasks.put(None)

    def _settle(self, group: Group, stored: int) -> None:
        self._durable_seq = group.first_seq + stored - 1
        self._durable_losses = group.losses
        self._last_sync_at = time.monotonic()
        if stored == len(group.records):
            tell(group.waiters)
        else:
            again, refused = take_back(group, stored, self._gather())
            if not group.from_reserve:
                self._space.run_out()
                self._shut = True
            self._records, self._waiters, self._reserved, self._losers = (
                again.records,
                again.waiters,
                again.reserved,
                again.losers,
            )
            self._next_seq = again.first_seq + len(again.records)
            tell(group.waiters[:stored])
            for done in refused:
                done(JournalFull("no room for the record"))
        tell(group.losers)

    def _refuse_all(self, group: Group, failure: BaseException) -> None:
        """The journal has failed: nobody in the group or behind it has a durable copy."""
        waiters = [*group.waiters, *group.losers, *self._waiters, *self._losers]
        self._records, self._waiters, self._reserved, self._losers = [], [], [], []
        self._fail(failure)
        for done in waiters:
            done(self._refused())

    # States, in the loop.

    def _refused(self) -> Refusal:
        if self._ended is None:
            return JournalFull(self._space.full)
        refusal = JournalFailed(str(self._ended))
        if isinstance(self._ended, BaseException):
            refusal.__cause__ = self._ended
        return refusal

    def _fail(self, failure: BaseException) -> None:
        if not isinstance(self._ended, BaseException):
            self._end(failure)
            # In a step of its own: whatever it does, it does not do inside somebody's `done`.
            self._loop.call_soon(self._on_failure, failure)

    def _end(self, why: BaseException | str) -> None:
        self._ended = why
        self._shut = True
        if self._next_look is not None:
            self._next_look.cancel()

    def _look_at_space(self) -> None:
        self._tasks.put(partial(self._measure_space, self._space.has_run_out))

    def _space_measured(self, objection: str | None, ran_out: bool) -> None:
        self._space.measured(objection, ran_out=ran_out)
        self._shut = self._ended is not None or self.is_full
        self._look_again()

    def _look_again(self) -> None:
        if self._ended is None:
            self._next_look = self._loop.call_later(CHECK_SECONDS, self._look_at_space)

    def _when_released(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._fail(failure)
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    # In the thread, but for `_retire`.

    def _retire(self, full: OpenSegment) -> None:
        self._tasks.put(partial(self._finish, full))

    def _serve_disk(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
        self._release()

    def _finish(self, full: OpenSegment) -> None:
        try:
            self._files.tail.finish(full)
        except OSError as failure:
            self._loop.call_soon_threadsafe(self._fail, failure)

    def _measure_space(self, ran_out: bool) -> None:
        self._announce()
        try:
            objection = self._space.measure(ran_out=ran_out)
        except OSError:
            # Too many open files, or the like: the last verdict holds until the next look.
            self._loop.call_soon_threadsafe(self._look_again)
        else:
            self._loop.call_soon_threadsafe(self._space_measured, objection, ran_out)

    def _announce(self) -> None:
        # A word that cannot be said is said at the next look; no answer waits for it, and no record depends on it.
        with suppress(OSError):
            self._files.announce(self._durable_seq)

    def _release(self) -> None:
        failure: BaseException | None = None
        self._announce()
        try:
            self._files.release(intact=not isinstance(self._ended, BaseException))
        except OSError as error:
            failure = error
        self._loop.call_soon_threadsafe(self._when_released, failure)

    def _abandon_in_child(self) -> None:
        # A forked child shares the lock and would keep a dead worker's stream alive.
        self._end(JournalFailed("the journal belongs to the parent process"))
        self._files.let_go()


_living: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()


def _abandon_all_in_child() -> None:
    for writer in list(_living):
        writer._abandon_in_child()


os.register_at_fork(after_in_child=_abandon_all_in_child)
