"""All that is being shipped: streams and their partitions, from what was read to what is consumed. Asks nobody and
waits for nothing; files are read and written here, Kafka is not."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from edge.shipper.journal import Found, Journal, Stream
from edge.shipper.packing import Packed, Turn
from edge.shipper.producer import Batch
from edge.shipper.progress import GoneBack, PartitionProgress, Piece, Question
from shared import topics
from shared.journal import Consumed, Shipped

log = structlog.get_logger()


class _Partition:
    def __init__(self) -> None:
        self.progress = PartitionProgress()
        self.turn = Turn()


class Shipment:
    """`now` is monotonic, in seconds."""

    def __init__(self, journal: Journal) -> None:
        self.shipped = 0
        """Records and lost seqs that were acknowledged, each as often as it was."""
        self.resent = 0
        """Of these, the ones that had been acknowledged before."""
        self.went_back: Counter[str] = Counter()
        self._journal = journal
        self._found: list[Found] = []  # not joined yet
        self._streams: dict[bytes, Stream] = {}
        self._partitions: dict[int, _Partition] = {}
        self._number = 0
        self._highest: dict[bytes, int] = {}

    @property
    def occupied(self) -> list[int]:
        """The partitions that any stream goes to."""
        return list(self._partitions)

    def take_partitions(self, number: int) -> None:
        """The events topic has so many. A stream whose own is not among them any more is moved, which nothing else
        does."""
        self._number = number
        for partition in [partition for partition in self._partitions if partition >= number]:
            for stream_id in list(self._partitions[partition].progress.streams):
                stream = self._streams[stream_id]
                consumed = self._partitions[partition].progress.streams[stream_id].consumed
                self._leave(stream)
                stream.partition = topics.partition_of(stream.id, number)
                stream.told = False
                self._join(stream, consumed, None, old=False)
            del self._partitions[partition]

    def notice(self) -> None:
        """Takes in streams that are new. Raises OSError."""
        self._found += self._journal.notice()
        if not self._number:
            return
        for found in self._found:
            shipped = found.shipped
            if shipped is not None and shipped.partition >= self._number:
                shipped = None
            partition = topics.partition_of(found.id, self._number) if shipped is None else shipped.partition
            stream = Stream(found.path, partition)
            self._streams[stream.id] = stream
            self._join(stream, found.consumed, shipped, old=found.dead)
        self._found = []

    def _join(self, stream: Stream, consumed: int, shipped: Shipped | None, *, old: bool) -> None:
        partition = self._partitions.setdefault(stream.partition, _Partition())
        partition.progress.join(stream.id, consumed, shipped)
        partition.turn.add(stream, old=old)
        self._highest.setdefault(stream.id, partition.progress.streams[stream.id].next_seq)

    def _leave(self, stream: Stream) -> None:
        stream.close()
        self._partitions[stream.partition].progress.leave(stream.id)
        self._partitions[stream.partition].turn.remove(stream)

    def pack(self, number: int, batch: Batch, now: float) -> Packed | None:
        """What is to be sent to the partition next; None when there is nothing now."""
        partition = self._partitions[number]
        next_seqs = {stream: progress.next_seq for stream, progress in partition.progress.streams.items()}
        return partition.turn.pack(batch, next_seqs, self._journal.marks, now)

    def acked(self, number: int, base_offset: int, packed: Packed) -> bool:
        """The partition has it, from `base_offset` on. True: this shows that its log was lost."""
        if number not in self._partitions:  # it was among those that are gone
            return False
        progress = self._partitions[number].progress
        for piece in packed.pieces:
            self._count(piece)
        generation = progress.generation
        self._go_back(number, progress.acked(base_offset, packed.messages, packed.pieces))
        if self._was_lost(number, generation):
            return True
        for said in packed.standings:
            known = progress.streams.get(said.stream.id)
            said.stream.losses, said.stream.losses_at = said.standing.losses, base_offset + said.place
            # It may have gone back while this was on its way.
            said.stream.told = (
                known is not None and said.standing.finished and said.stream.is_finished_at(known.next_seq)
            )
        return False

    def _count(self, piece: Piece) -> None:
        highest = self._highest.get(piece.stream, piece.first)
        self.shipped += piece.last - piece.first + 1
        self.resent += max(min(piece.last + 1, highest) - piece.first, 0)
        self._highest[piece.stream] = max(highest, piece.last + 1)

    def said(self, stream_id: bytes, said: topics.Consumed, now: float) -> None:
        """Ingest said it. Of a stream of another machine: nothing to us."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if said.partition != stream.partition:
            said = said._replace(offset=0)
        gone_back = self._partitions[stream.partition].progress.said(stream_id, said, now)
        self._go_back(stream.partition, [] if gone_back is None else [gone_back])

    def questions(self) -> dict[int, Question]:
        """By partition, to be made before the logs' ends are asked for."""
        return {number: partition.progress.question() for number, partition in self._partitions.items()}

    def log_ends(self, ends: Mapping[int, int], questions: Mapping[int, Question], now: float) -> bool:
        """The logs end there. True: one of them was lost."""
        lost = False
        for number, end in ends.items():
            if number not in self._partitions:
                continue
            progress = self._partitions[number].progress
            generation = progress.generation
            self._go_back(number, progress.log_end(end, questions[number], now))
            lost |= self._was_lost(number, generation)
        return lost

    def lost(self, reason: str) -> None:
        """All logs are gone."""
        for number, partition in self._partitions.items():
            generation = partition.progress.generation
            self._go_back(number, partition.progress.lost(reason))
            self._was_lost(number, generation)

    def _was_lost(self, number: int, generation: int) -> bool:
        progress = self._partitions[number].progress
        if progress.generation == generation:
            return False
        for stream in progress.streams:  # what was said of them went with it
            self._streams[stream].told, self._streams[stream].losses_at = False, None
            self._streams[stream].standing_at = 0.0
        return True

    def _go_back(self, number: int, gone_back: Iterable[GoneBack]) -> None:
        for stream, reason, next_seq, records in gone_back:
            self.went_back[reason] += 1
            self._streams[stream].told = False
            log.warning(
                "went_back", stream=stream.hex(), partition=number, reason=reason, next_seq=next_seq, records=records
            )

    @property
    def needs_group(self) -> bool:
        """Whether a stream waits for the word that its declared losses are stored."""
        return any(stream.told and self._losses_stored(stream) < stream.losses for stream in self._streams.values())

    def group_offsets(self, offsets: Mapping[int, int]) -> None:
        """By partition: ingest's group need not read what lies below."""
        for number, offset in offsets.items():
            if number in self._partitions:
                self._partitions[number].progress.group_read_to(offset)

    def _losses_stored(self, stream: Stream) -> int:
        """Of the stream's declared losses; -1 while it is not known to ingest that it is finished."""
        if not stream.told:
            return -1
        read_to = self._partitions[stream.partition].progress.read_to
        return stream.losses if stream.losses_at is not None and stream.losses_at < read_to else 0

    def consumed(self) -> dict[bytes, Consumed]:
        """What a sweep of the journal is to know."""
        known = {}
        for stream in self._streams.values():
            next_seq = self._partitions[stream.partition].progress.streams[stream.id].consumed
            mark = self._journal.marks.at(stream.id, next_seq)
            known[stream.id] = Consumed(next_seq, mark, self._losses_stored(stream))
        return known

    def forget(self, gone: Iterable[bytes]) -> None:
        """Their directories are not there any more."""
        gone = list(gone)
        for stream_id in gone:
            self._leave(self._streams.pop(stream_id))
            self._highest.pop(stream_id, None)
        self._journal.forget(gone)

    def remember(self) -> None:
        """Keeps in each stream's directory how far it is shipped. Raises OSError."""
        for stream in self._streams.values():
            progress = self._partitions[stream.partition].progress
            stream.remember(progress.streams[stream.id].next_seq, progress.end_offset(stream.id))

    def status(self) -> dict[str, Any]:
        """Counts since the start, and what is still to be done. Raises OSError."""
        unsent = unconsumed = 0
        for stream in self._streams.values():
            progress = self._partitions[stream.partition].progress.streams[stream.id]
            behind = stream.unsent(progress.next_seq)
            unsent += behind
            unconsumed += behind + progress.next_seq - progress.consumed
        return {
            "shipped": self.shipped,
            "resent": self.resent,
            "went_back": dict(self.went_back),
            "streams": len(self._streams),
            "partitions": self._number,
            "unsent_records": unsent,
            "unconsumed_records": unconsumed,
            "unconsumed_bytes": self._journal.unconsumed_bytes,
        }

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
