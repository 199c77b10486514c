"""All streams that this process reads from the log, and what is to be said of them. Pure: the time is passed in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from management.ingest.batch import Gap, StreamRead
from management.ingest.sources import Round
from management.ingest.sources.messages import Chunk, Said
from management.ingest.sources.parking import Evidence, Stream, Tally
from management.ingest.sources.place import Place
from shared import topics
from shared.topics import Standing

GAP_SECONDS: Final = 1.0
"""A gap that stands is said again so often."""
FORGET_SECONDS: Final = 600.0
"""A stream at rest for so long is asked for anew when it comes back."""
_LEAST_BYTES: Final = 64 * 1024


class Word(NamedTuple):
    """Evidence to be published for a stream of `place`, true as long as the place is in the same `life`."""

    stream: Stream
    place: Place
    life: int
    evidence: Evidence


class Intake:
    """Streams by id; each belongs to the partition that its messages come from."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.standing: dict[bytes, Standing] = {}
        """What the writers of streams said last, as far as it was not taken away by whoever stores it."""
        self._streams: dict[bytes, tuple[Stream, Place]] = {}
        self._turns: dict[bytes, Stream] = {}  # with something to give
        self._unsaid: dict[bytes, Stream] = {}  # of which evidence is due
        self._met_at: dict[bytes, float] = {}
        self._gaps_said_at = 0.0

    def unknown(self, said: Iterable[Said], place: Place) -> list[bytes]:
        """Streams whose stored position is needed before these messages can be taken in."""
        return [
            stream
            for stream in {message.stream for message in said}
            if (known := self._streams.get(stream)) is None
            or (known[1] is not place and known[0].is_settled)  # it goes on in another partition
        ]

    def begin(self, stream: bytes, stored: int | None, place: Place) -> None:
        """The stream comes from `place`, and Postgres has it before `stored`."""
        self._drop(stream)
        begun = Stream(stream, stored, self.tally)
        self._streams[stream] = begun, place
        place.streams[stream] = begun

    def take_in(self, chunk: Chunk, place: Place, now: float) -> None:
        """Everything up to the chunk's end is read; all its streams are known."""
        touched: dict[bytes, tuple[Stream, int]] = {}
        for offset, stream_id, message in chunk.said:
            stream, home = self._streams[stream_id]
            if home is not place:  # its records there are not stored yet: whoever sent them here sends them again
                self.tally.passed_over += 1
                continue
            if isinstance(message, topics.Record):
                stream.record(message, offset)
            elif isinstance(message, topics.Gap):
                stream.gap(Gap(*message), offset)
            elif not self._take_standing(message, stream, now):
                continue
            touched.setdefault(stream_id, (stream, offset))
        place.offset = chunk.end
        if chunk.last:
            place.last = chunk.last
        for stream_id, (stream, first) in touched.items():
            stream.note(first, chunk.end)
            self._unsaid[stream_id] = stream
            self._met_at[stream_id] = now
            if stream.next_seq > stream.given:
                self._turns[stream_id] = stream

    def _take_standing(self, standing: Standing, stream: Stream, now: float) -> bool:
        """Whether there is something to be said about it."""
        self._met_at[stream.id] = now
        self.standing[stream.id] = standing
        if standing.finished:
            stream.finished_at(standing.next_seq)
        return standing.finished or stream.published is None or standing.next_seq > stream.next_seq

    def give(self, records: int, size: int) -> Round:
        """What is there, every stream's share of it."""
        reads: list[StreamRead] = []
        waiting = list(self._turns.values())
        # First everyone's share, then what the idle left over among those that had more.
        while waiting and records > 0 and size > 0:
            share, share_size = max(1, records // len(waiting)), max(_LEAST_BYTES, size // len(waiting))
            for stream in waiting:
                read = stream.take(min(share, records), share_size) if records > 0 and size > 0 else None
                if read is not None:
                    reads.append(read)
                    records -= len(read.records)
                    size -= sum(len(payload) for _, _, payload in read.records)
            waiting = [stream for stream in waiting if stream.next_seq > stream.given]
        # Who had its turn stands behind who had none.
        served = {read.stream for read in reads}
        self._turns = {stream.id: stream for stream in sorted(waiting, key=lambda stream: stream.id in served)}
        return Round(reads, bool(waiting))

    def settle(self, positions: Mapping[bytes, int]) -> None:
        """Postgres has these streams before these seqs."""
        for stream_id, position in positions.items():
            known = self._streams.get(stream_id)
            if known is not None:
                known[0].settle(position)
                self._unsaid[stream_id] = known[0]

    def words(self, now: float) -> list[Word]:
        """What is to be published now; say `said` of each once it is."""
        repeat = now - self._gaps_said_at >= GAP_SECONDS
        if repeat:
            self._gaps_said_at = now
            gaps = {stream_id: stream for stream_id, (stream, _) in self._streams.items() if stream.has_gap}
            self._unsaid.update(gaps)
        due: list[Word] = []
        for stream_id in self._unsaid:
            stream, place = self._streams[stream_id]
            if place.offset is None or place.is_leaving or place.verifies:
                continue
            evidence = stream.evidence(place.offset)
            if evidence != stream.published or (repeat and stream.has_gap and stream.is_settled):
                due.append(Word(stream, place, place.life, evidence))
        return due

    def said(self, words: Sequence[Word]) -> None:
        """They are on their topic."""
        for stream, place, life, evidence in words:
            if place.life == life:
                stream.prove(evidence)
            if stream.unproven_from is None:
                self._unsaid.pop(stream.id, None)

    def stream(self, stream_id: bytes) -> Stream | None:
        known = self._streams.get(stream_id)
        return None if known is None else known[0]

    def drop(self, place: Place) -> None:
        """Another reads the partition from now on, or nobody."""
        for stream in list(place.streams):
            self._drop(stream)

    def leave(self, place: Place) -> None:
        """The partition is read no more; what was given is still to be stored."""
        place.leave()
        for stream_id in place.streams:
            self._turns.pop(stream_id, None)

    def forget_old(self, now: float) -> None:
        """Let go of streams that have been at rest for long."""
        for stream_id, (stream, _) in list(self._streams.items()):
            if (
                stream.is_at_rest
                and stream_id not in self._unsaid
                and stream_id not in self.standing
                and now - self._met_at.get(stream_id, 0.0) > FORGET_SECONDS
            ):
                self._drop(stream_id)

    def _drop(self, stream_id: bytes) -> None:
        known = self._streams.pop(stream_id, None)
        if known is not None:
            stream, place = known
            stream.forget()
            place.streams.pop(stream_id, None)
        for remembered in (self._turns, self._unsaid, self._met_at, self.standing):
            remembered.pop(stream_id, None)
