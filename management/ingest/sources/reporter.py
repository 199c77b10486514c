"""What ingest says of what it read: losses and announcements to Postgres, evidence to its topic, then the offsets to
begin at. Each step may rely on the one before."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from management.ingest.books import Announced
from management.ingest.sources.contact import Contact, reason_of
from management.ingest.sources.evidence import EvidenceTopic
from management.ingest.sources.intake import Intake
from management.ingest.sources.log_reader import UNREACHABLE, Hint, LogReader
from management.ingest.sources.place import Place
from shared.topics import Consumed

log = structlog.get_logger()


class Books(Protocol):
    """What beside batches is stored; a Writer's part. May raise what Postgres raises."""

    async def store_losses(self, losses: Mapping[bytes, int]) -> None: ...

    async def store_announced(self, said: Mapping[bytes, Announced]) -> None: ...


class Reporter:
    """Speaks for `intake` and `places`, which others change meanwhile; `is_assigned`: the reader reads that place."""

    def __init__(
        self,
        intake: Intake,
        places: Mapping[int, Place],
        is_assigned: Callable[[Place], bool],
        books: Books,
        evidence: EvidenceTopic,
        reader: LogReader,
        contact: Contact,
    ) -> None:
        self._intake = intake
        self._places = places
        self._is_assigned = is_assigned
        self._books = books
        self._evidence = evidence
        self._reader = reader
        self._contact = contact
        self._committed: dict[int, Hint] = {}
        self._uncommitted = False  # and that was said
        self._speaking = asyncio.Lock()

    def forget(self, partition: int) -> None:
        """What was committed of it is another log's, or another process's."""
        self._committed.pop(partition, None)

    async def report(self, now: float, *, commit: bool = True, book: bool = True) -> None:
        """Says what is true at this instant, monotonic. Raises what UNREACHABLE lists, and what Postgres raises."""
        async with self._speaking:
            words = self._intake.words(now)
            read_to = [
                (place, place.life, Hint(place.offset, place.last))
                for place in self._places.values()
                if place.offset is not None and place.is_read and not place.verifies
            ]
            if book:
                await self._book()
            if words:
                await self._evidence.publish(
                    {
                        stream.id: Consumed(evidence.next_seq, place.partition, evidence.offset)
                        for stream, place, _, evidence in words
                    }
                )
                self._intake.said(words)
            if commit and (book or not self._intake.standing):
                await self._commit(read_to)

    async def _book(self) -> None:
        """What writers say of their streams goes to the books."""
        standing, self._intake.standing = self._intake.standing, {}
        losses: dict[bytes, int] = {}
        announced: dict[bytes, Announced] = {}
        for stream_id, (next_seq, lost, finished) in standing.items():
            stream = self._intake.stream(stream_id)
            assert stream is not None, "what is forgotten has nothing to say"
            if lost > stream.losses_booked:
                losses[stream_id] = lost
            if finished and not stream.has_stored(next_seq):
                self._intake.standing[stream_id] = standing[stream_id]  # look again
            said = Announced(next_seq - 1, finished and stream.has_stored(next_seq), stream.parked)
            if said != stream.announced:
                announced[stream_id] = said
        if losses:
            await self._books.store_losses(losses)
        if announced:
            await self._books.store_announced(announced)
        for stream_id in losses.keys() | announced.keys():
            stream = self._intake.stream(stream_id)
            if stream is not None:
                stream.losses_booked = max(stream.losses_booked, losses.get(stream_id, 0))
                stream.announced = announced.get(stream_id, stream.announced)

    async def _commit(self, read_to: Sequence[tuple[Place, int, Hint]]) -> None:
        hints: dict[int, Hint] = {}
        for place, life, read in read_to:
            if place.life != life or place.hint is None or not self._is_assigned(place):
                continue
            hint = read if place.hint >= read.offset else Hint(place.hint, "")
            if hint != self._committed.get(place.partition):
                hints[place.partition] = hint
        if not hints:
            return
        try:
            await self._reader.commit(hints)
        except UNREACHABLE as error:
            if not self._uncommitted and not self._contact.was_away:
                log.warning("offsets_not_kept", error=reason_of(error))
            self._uncommitted = True
            return
        self._uncommitted = False
        self._committed.update(hints)
