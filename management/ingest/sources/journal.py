"""The journals of this machine's edges as a source; stores what they declared lost, tells them what is stored, and
deletes it when it is old enough or in the way."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from management.ingest.batch import Gap, StreamRead
from management.ingest.sources import Round, StoredPositions
from shared.journal import (
    END,
    FIRST_SEQ,
    SETTLED_NS,
    JournalLimits,
    JournalMeter,
    Mark,
    StreamReader,
    UnknownVersion,
    delete_consumed,
    delete_stillborn,
    free_bytes,
    kept_segments,
    read_losses,
    stream_id,
    streams,
    trim,
    write_consumed,
)

SWEEP_SECONDS: Final = 10.0
_STILLBORN_SECONDS: Final = 600.0
_LEAST_BYTES: Final = 64 * 1024

StoreLosses = Callable[[Mapping[bytes, int]], Awaitable[None]]
"""Stream → how many clicks it declared lost in all; stored for good when this returns."""

log = structlog.get_logger()


class _Open:
    """A stream that is being read: `begins` is the seq its next read settles first."""

    __slots__ = ("begins", "known", "reader", "trouble")

    def __init__(self, reader: StreamReader, begins: int, known: bool) -> None:
        self.reader = reader
        self.begins = begins
        self.known = known
        self.trouble = ""


class _Consumed(NamedTuple):
    """What a sweep is told of a stream: stored before `next_seq`, which begins at `mark` (None: not known)."""

    next_seq: int
    mark: Mark | None
    losses_stored: int


class _Swept(NamedTuple):
    gone: list[bytes]
    losses: dict[bytes, int]


class JournalSource:
    """See `Source`. One round reads up to `records` records or about `size` bytes of payload."""

    def __init__(
        self,
        root: Path,
        keep_seconds: float,
        positions: StoredPositions,
        *,
        limits: JournalLimits,
        store_losses: StoreLosses,
        records: int = 10_000,
        size: int = 16 << 20,
    ) -> None:
        self._root = root
        self._keep_seconds = keep_seconds
        self._ask_positions = positions
        self._limits = limits
        self._store_losses = store_losses
        self._meter = JournalMeter(root)
        self._records = records
        self._size = size
        self._open: dict[bytes, _Open] = {}
        self._turns: deque[bytes] = deque()
        self._stored: dict[bytes, int | None] = {}
        self._marks: dict[bytes, deque[tuple[int, Mark]]] = {}  # of reads that may not be stored yet
        self._told: dict[bytes, tuple[int, Mark]] = {}
        self._losses: dict[bytes, int] = {}
        self._losses_stored: dict[bytes, int] = {}
        self._root_seen_at = -1
        self._sweep: asyncio.Task[None] | None = None
        self._sweep_at = time.monotonic()

    async def read(self) -> Round:
        """See `Source.read`."""
        await self._notice_streams()
        await self._declare_losses()
        self._sweep_when_due()
        return self._read_round()

    async def committed(self, positions: Mapping[bytes, int]) -> None:
        """See `Source.committed`."""
        self._stored.update(positions)

    async def close(self) -> None:
        """See `Source.close`."""
        for opened in self._open.values():
            opened.reader.close()
        if self._sweep is not None:
            await self._sweep

    async def _notice_streams(self) -> None:
        fresh = {stream_id(path): path for path in self._listed() if stream_id(path) not in self._stored}
        if not fresh:
            return
        try:
            known = await self._ask_positions(list(fresh))
        except BaseException:
            self._root_seen_at = -1
            raise
        for stream, path in fresh.items():
            self._stored[stream] = known.get(stream)
            begins = known.get(stream, FIRST_SEQ)
            self._open[stream] = _Open(StreamReader(path, begins), begins, stream in known)
            self._turns.append(stream)

    async def _declare_losses(self) -> None:
        if self._losses:
            await self._store_losses(self._losses)
            self._losses_stored.update(self._losses)
            self._losses = {}

    def _listed(self) -> list[Path]:
        """All streams if the folder may have changed since the last look, else none."""
        try:
            changed_at = os.stat(self._root).st_mtime_ns
        except FileNotFoundError:
            return []
        if changed_at == self._root_seen_at:
            return []
        found = streams(self._root)
        self._root_seen_at = changed_at if time.time_ns() - changed_at > SETTLED_NS else -1
        return found

    def _read_round(self) -> Round:
        reads: list[StreamRead] = []
        room, size = self._records, self._size
        waiting = list(self._turns)
        self._turns.rotate(-1)
        # First everyone's share, then what the idle left over among those that had more.
        while waiting and room > 0 and size > 0:
            share, share_size = max(1, room // len(waiting)), max(_LEAST_BYTES, size // len(waiting))
            hungry: list[bytes] = []
            for stream in waiting:
                if room <= 0 or size <= 0:
                    hungry.append(stream)
                    continue
                read = self._read_stream(stream, min(share, room), share_size)
                if read is None:
                    continue
                taken = sum(len(record[2]) for record in read.records)
                reads.append(read)
                room -= len(read.records)
                size -= taken
                if len(read.records) >= share or taken >= share_size:
                    hungry.append(stream)
            waiting = hungry
        return Round(reads, bool(waiting))

    def _read_stream(self, stream: bytes, records: int, size: int) -> StreamRead | None:
        """The next run of the stream; None when there is nothing now. A finished stream is let go."""
        opened = self._open.get(stream)
        if opened is None:
            return None
        try:
            found = opened.reader.read(records, size)
        except (OSError, UnknownVersion) as error:
            # The others go on; this one is asked again each round, and what it holds stays where it is.
            if str(error) != opened.trouble:
                opened.trouble = str(error)
                log.error("stream_unreadable", stream=stream.hex(), error=opened.trouble)
            return None
        opened.trouble = ""
        if found.finished:
            del self._open[stream]
            self._turns.remove(stream)
        self._remember(stream, found.next_seq, END if found.finished else opened.reader.mark)
        if found.next_seq == opened.begins:
            return None
        gaps = [Gap(*gap) for gap in found.gaps]
        read = StreamRead(stream, opened.begins, found.next_seq, opened.known, found.records, gaps)
        opened.begins, opened.known = found.next_seq, True
        return read

    def _remember(self, stream: bytes, next_seq: int, mark: Mark | None) -> None:
        if mark is None:
            return
        marks = self._marks.setdefault(stream, deque())
        if marks and marks[-1][0] == next_seq:
            marks.pop()
        marks.append((next_seq, mark))

    def _sweep_when_due(self) -> None:
        if time.monotonic() < self._sweep_at or (self._sweep is not None and not self._sweep.done()):
            return
        self._sweep_at = time.monotonic() + SWEEP_SECONDS
        consumed = {stream: self._consumed(stream, position) for stream, position in self._stored.items()}
        self._sweep = asyncio.create_task(self._sweep_once(consumed))

    def _consumed(self, stream: bytes, position: int | None) -> _Consumed:
        next_seq = FIRST_SEQ if position is None else position
        marks = self._marks.get(stream, deque())
        while len(marks) > 1 and marks[1][0] <= next_seq:
            marks.popleft()
        mark = marks[0][1] if marks and marks[0][0] <= next_seq else None
        return _Consumed(next_seq, mark, self._losses_stored.get(stream, 0))

    async def _sweep_once(self, consumed: Mapping[bytes, _Consumed]) -> None:
        try:
            swept = await asyncio.to_thread(self._tidy, consumed, time.time())
        except OSError as error:
            log.error("journal_not_cleaned", error=str(error))
            return
        self._losses = swept.losses
        for stream in swept.gone:
            for remembered in (self._stored, self._marks, self._told, self._losses_stored):
                remembered.pop(stream, None)

    # In a thread.

    def _tidy(self, streams: Mapping[bytes, _Consumed], now: float) -> _Swept:
        """Deletes what is old enough or in the way, and tells the writers how far they are consumed."""
        losses: dict[bytes, int] = {}
        for stream, consumed in streams.items():
            path = self._root / stream.hex()
            found = read_losses(path)
            if found > consumed.losses_stored:
                losses[stream] = found
            delete_consumed(path, consumed.next_seq, self._keep_seconds, now, consumed.losses_stored)
        delete_stillborn(self._root, _STILLBORN_SECONDS, now)
        untold = self._tell_writers(streams)
        self._make_room(streams)
        if untold is not None:
            raise untold
        gone = [stream for stream in streams if stream not in self._open and not (self._root / stream.hex()).exists()]
        return _Swept(gone, losses)

    def _tell_writers(self, streams: Mapping[bytes, _Consumed]) -> OSError | None:
        """Gives what went wrong: on a full disk it takes the room that is made next."""
        untold = None
        for stream, (next_seq, mark, _) in streams.items():
            if mark is None or self._told.get(stream) == (next_seq, mark):
                continue
            try:
                write_consumed(self._root / stream.hex(), next_seq, mark)
            except FileNotFoundError:  # deleted
                continue
            except OSError as error:
                untold = error
                continue
            self._told[stream] = (next_seq, mark)
        return untold

    def _make_room(self, streams: Mapping[bytes, _Consumed]) -> None:
        """Trims what is stored and only kept: to half of the journal's limit, and further when the disk is short."""
        kept = [
            segment
            for stream, consumed in streams.items()
            for segment in kept_segments(
                self._root / stream.hex(),
                consumed.next_seq,
                finished=consumed.mark == END,
                losses_stored=consumed.losses_stored,
            )
        ]
        if not kept:
            return
        too_many = sum(segment.size for segment in kept) - self._limits.max_bytes // 2
        too_little = self._limits.wanted_free(self._meter.unconsumed_bytes()) - free_bytes(self._root)
        if trimmed := trim(kept, max(too_many, too_little)):
            log.warning("kept_segments_trimmed", bytes=trimmed)
