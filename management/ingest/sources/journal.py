"""The journals of this machine's edges as a source; stores what they declared lost, tells them what is stored, and
deletes it when it is old enough or in the way."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from management.ingest.batch import Gap, StreamRead
from management.ingest.sources import Round, StoredPositions
from management.ingest.sources.announcements import Announcements, StoreAnnounced
from shared.journal import (
    END,
    FIRST_SEQ,
    Consumed,
    JournalLimits,
    Marks,
    StreamListing,
    StreamReader,
    Tidier,
    UnknownVersion,
    stream_id,
)

SWEEP_SECONDS: Final = 10.0
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
        store_announced: StoreAnnounced,
        records: int = 10_000,
        size: int = 16 << 20,
    ) -> None:
        self._listing = StreamListing(root)
        self._ask_positions = positions
        self._store_losses = store_losses
        self._announcements = Announcements(root, store_announced)
        self._tidier = Tidier(root, keep_seconds, limits)
        self._records = records
        self._size = size
        self._open: dict[bytes, _Open] = {}
        self._turns: deque[bytes] = deque()
        self._stored: dict[bytes, int | None] = {}
        self._marks = Marks()
        self._losses: dict[bytes, int] = {}
        self._losses_stored: dict[bytes, int] = {}
        self._sweep: asyncio.Task[None] | None = None
        self._sweep_at = time.monotonic()

    async def read(self) -> Round:
        """See `Source.read`."""
        await self._notice_streams()
        await self._declare_losses()
        self._sweep_when_due()
        self._announcements.tell_when_due(self._open, self._stored)
        return self._read_round()

    async def committed(self, positions: Mapping[bytes, int]) -> None:
        """See `Source.committed`."""
        self._stored.update(positions)

    async def close(self) -> None:
        """See `Source.close`."""
        for opened in self._open.values():
            opened.reader.close()
        await self._announcements.close()
        if self._sweep is not None:
            await self._sweep

    async def _notice_streams(self) -> None:
        fresh = {stream_id(path): path for path in self._listing.look() if stream_id(path) not in self._stored}
        if not fresh:
            return
        try:
            known = await self._ask_positions(list(fresh))
        except BaseException:
            self._listing.look_again()
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
            self._announcements.ended(stream, found.next_seq)
        self._marks.remember(stream, found.next_seq, END if found.finished else opened.reader.mark)
        if found.next_seq == opened.begins:
            return None
        gaps = [Gap(*gap) for gap in found.gaps]
        read = StreamRead(stream, opened.begins, found.next_seq, opened.known, found.records, gaps)
        opened.begins, opened.known = found.next_seq, True
        return read

    def _sweep_when_due(self) -> None:
        if time.monotonic() < self._sweep_at or (self._sweep is not None and not self._sweep.done()):
            return
        self._sweep_at = time.monotonic() + SWEEP_SECONDS
        consumed = {stream: self._consumed(stream, position) for stream, position in self._stored.items()}
        self._sweep = asyncio.create_task(self._sweep_once(consumed))

    def _consumed(self, stream: bytes, position: int | None) -> Consumed:
        next_seq = FIRST_SEQ if position is None else position
        return Consumed(next_seq, self._marks.at(stream, next_seq), self._losses_stored.get(stream, 0))

    async def _sweep_once(self, consumed: Mapping[bytes, Consumed]) -> None:
        try:
            tidied = await asyncio.to_thread(self._tidier.tidy, consumed, time.time())
        except OSError as error:
            log.error("journal_not_cleaned", error=str(error))
            return
        self._losses = tidied.losses
        if tidied.trimmed_bytes:
            log.warning("kept_segments_trimmed", bytes=tidied.trimmed_bytes)
        for stream in consumed:
            if stream in self._open or self._announcements.owes(stream) or not self._tidier.is_gone(stream):
                continue
            self._marks.forget(stream)
            self._stored.pop(stream, None)
            self._losses_stored.pop(stream, None)
