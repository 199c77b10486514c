"""The streams of this machine's journal as the shipper sees them: noticed, read on from any seq, kept tidy."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from shared.journal import (
    END,
    FIRST_SEQ,
    Consumed,
    JournalLimits,
    Marks,
    ReadBatch,
    Shipped,
    StreamListing,
    StreamReader,
    Tidier,
    UnknownVersion,
    read_announced,
    read_consumed_seq,
    read_losses,
    read_shipped,
    stream_id,
    write_shipped,
)
from shared.journal.stream import WriterLock
from shared.topics import Standing

SWEEP_SECONDS: Final = 10.0

log = structlog.get_logger()


class Stream:
    """One stream that is shipped. `partition` is its for life."""

    def __init__(self, path: Path, partition: int) -> None:
        self.id = stream_id(path)
        self.path = path
        self.partition = partition
        self.trouble = ""
        self.standing_at = 0.0
        """When its next STANDING is due, monotonic."""
        self.told = False
        """That it is finished was acknowledged."""
        self.losses = 0
        """As its last acknowledged STANDING said, whose offset is `losses_at`."""
        self.losses_at: int | None = None
        self._reader: StreamReader | None = None
        self._read_to = -1
        self._finished = False
        self._remembered: Shipped | None = None

    def read(self, next_seq: int, max_records: int, max_bytes: int, marks: Marks) -> ReadBatch | None:
        """What follows from `next_seq` on; None when there is nothing now, or it cannot be read."""
        if next_seq != self._read_to:
            self.close()
            self._finished = self.told = False
        if self._finished:
            return None
        try:
            if self._reader is None:
                self._reader = StreamReader(self.path, next_seq)
            found = self._reader.read(max_records, max_bytes)
        except (OSError, UnknownVersion) as error:
            # The others go on; this one is asked again, and what it holds stays where it is.
            if str(error) != self.trouble:
                self.trouble = str(error)
                log.error("stream_unreadable", stream=self.id.hex(), error=self.trouble)
            return None
        self.trouble = ""
        self._read_to = found.next_seq
        if found.finished:
            self._finished, self._reader = True, None
        marks.remember(self.id, found.next_seq, END if self._reader is None else self._reader.mark)
        return found if found.records or found.gaps else None

    def is_finished_at(self, next_seq: int) -> bool:
        """Its writer is gone and nothing follows from `next_seq` on."""
        return self._finished and next_seq == self._read_to

    def standing(self, next_seq: int) -> Standing:
        """What is to be said of it when everything before `next_seq` is sent. Raises OSError."""
        announced = read_announced(self.path)
        finished = self.is_finished_at(next_seq)
        follows = next_seq if finished or announced is None else announced + 1
        return Standing(follows, read_losses(self.path), finished)

    def unsent(self, next_seq: int) -> int:
        """Records that its worker announced and that are not acknowledged. Raises OSError."""
        return max((read_announced(self.path) or 0) + 1 - next_seq, 0)

    def remember(self, next_seq: int, end_offset: int | None) -> None:
        """Keeps in its directory how far it is shipped. Raises OSError."""
        shipped = Shipped(self.partition, next_seq, end_offset)
        if shipped == self._remembered:
            return
        try:
            write_shipped(self.path, shipped)
        except FileNotFoundError:  # deleted: it was consumed
            return
        self._remembered = shipped

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class Found:
    """A stream that was noticed: where it is, what an earlier life left about it, whether its worker is gone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.path = path
        self.id = stream_id(path)
        self.shipped = read_shipped(path)
        self.consumed = read_consumed_seq(path) or FIRST_SEQ
        lock = WriterLock(path)
        self.dead = lock.is_free()
        lock.close()


class Journal:
    """A root of streams. Belongs to one process at a time (see `shared.journal.claimed`)."""

    def __init__(self, root: Path, keep_seconds: float, limits: JournalLimits) -> None:
        self.marks = Marks()
        self.unconsumed_bytes = 0
        """As the last sweep found it."""
        self._tidier = Tidier(root, keep_seconds, limits)
        self._listing = StreamListing(root)
        self._known: set[bytes] = set()

    def notice(self) -> list[Found]:
        """Streams that were not given before. Raises OSError."""
        try:
            found = [Found(path) for path in self._listing.look() if stream_id(path) not in self._known]
        except OSError:
            self._listing.look_again()
            raise
        self._known.update(stream.id for stream in found)
        return found

    async def tidy(self, consumed: dict[bytes, Consumed]) -> list[bytes]:
        """Deletes what is consumed and old enough or in the way, tells the writers; gives the streams that are gone."""
        try:
            tidied = await asyncio.to_thread(self._tidier.tidy, consumed, time.time())
        except OSError as error:
            log.error("journal_not_cleaned", error=str(error))
            return []
        self.unconsumed_bytes = tidied.unconsumed_bytes
        if tidied.trimmed_bytes:
            log.warning("kept_segments_trimmed", bytes=tidied.trimmed_bytes)
        return [stream for stream in consumed if self._tidier.is_gone(stream)]

    def forget(self, gone: Iterable[bytes]) -> None:
        for stream in gone:
            self.marks.forget(stream)
            self._known.discard(stream)
