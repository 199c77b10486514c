"""From the streams of one partition to one batch: everyone's share, records and gaps in order, standings."""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from edge.shipper.journal import Stream
from edge.shipper.producer import Batch
from edge.shipper.progress import Piece
from shared.journal import Gap as Missing
from shared.journal import Marks, ReadBatch, Record
from shared.topics import Gap, Standing, encode_gap, encode_record, encode_standing

READ_BYTES: Final = 448 * 1024
"""Of records for one batch: with what the format adds to each it has some 470 KiB. A request costs what forty records
do, so it carries many. The record that reaches this may be MAX_PAYLOAD long, and still fits
(edge.shipper.producer.BATCH_BYTES)."""
READ_RECORDS: Final = 1_500
_LEAST_BYTES: Final = 4 * 1024
STANDING_SECONDS: Final = 1.0
FINISHED_SECONDS: Final = 30.0
"""Between two STANDINGs of a stream that is finished, for as long as its directory is there: a log that was lost takes
the last one with it, and nothing else would bring it back."""
OLD_AT_ONCE: Final = 8
"""Streams that were dead already when they were noticed are shipped so many at a time: each has files and a piece of
them in memory."""


class Said(NamedTuple):
    """A STANDING in a batch; `place` is that of its message, from 0."""

    stream: Stream
    standing: Standing
    place: int


class Packed(NamedTuple):
    batch: Batch
    pieces: list[Piece]
    standings: list[Said]
    messages: int


class Turn:
    """Packs batches from one partition's streams; the one that begins changes with each."""

    def __init__(self) -> None:
        self._young: list[Stream] = []
        self._old: list[Stream] = []

    def add(self, stream: Stream, *, old: bool) -> None:
        (self._old if old else self._young).append(stream)

    def remove(self, stream: Stream) -> None:
        for those in (self._young, self._old):
            if stream in those:
                those.remove(stream)

    def pack(self, batch: Batch, next_seqs: dict[bytes, int], marks: Marks, now: float) -> Packed | None:
        """`batch` with what follows `next_seqs` and the standings that are due; None when there is nothing now."""
        packing = _Packing(batch, now)
        waiting = self._in_turn()
        for stream in [*waiting, *(stream for stream in self._old if stream.told)]:
            packing.take_standing(stream, next_seqs[stream.id])
        for left, stream in zip(range(len(waiting), 0, -1), waiting, strict=True):
            if packing.room <= 0 or packing.records >= READ_RECORDS:
                break
            packing.take_records(stream, next_seqs[stream.id], max(packing.room // left, _LEAST_BYTES), marks)
        return packing.packed()

    def _in_turn(self) -> list[Stream]:
        self._young = self._young[1:] + self._young[:1]
        # Those that have nothing to give go to the end, so that the next ones come into sight.
        self._old.sort(key=lambda stream: (stream.told, stream.trouble != ""))
        return self._young + [stream for stream in self._old[:OLD_AT_ONCE] if not stream.told]


class _Packing:
    def __init__(self, batch: Batch, now: float) -> None:
        self.room = READ_BYTES
        self.records = 0
        self._batch = batch
        self._now = now
        self._pieces: list[Piece] = []
        self._standings: list[Said] = []
        self._messages = 0

    def take_standing(self, stream: Stream, next_seq: int) -> None:
        finished = stream.is_finished_at(next_seq)
        if self._now < stream.standing_at and (stream.told or not finished):
            return
        try:
            standing = stream.standing(next_seq)
        except OSError:  # its directory is going; what it left is stored
            return
        if self._append(stream, encode_standing(standing)):
            self._standings.append(Said(stream, standing, self._messages - 1))
            stream.standing_at = self._now + (FINISHED_SECONDS if finished else STANDING_SECONDS)

    def take_records(self, stream: Stream, next_seq: int, size: int, marks: Marks) -> None:
        found = stream.read(next_seq, READ_RECORDS - self.records, size, marks)
        if found is None:
            return
        for run in _in_order(found):
            if not self._take(stream, run):
                break  # read again with the next batch

    def _take(self, stream: Stream, run: "list[Record] | Missing") -> bool:
        if isinstance(run, Missing):
            fits = self._append(stream, encode_gap(Gap(run.first, run.last, run.reason)))
            if fits:
                self._pieces.append(Piece(stream.id, run.first, run.last, self._messages - 1, gap=True))
            return fits
        taken, size = 0, 0
        append, key = self._batch.append, stream.id  # once for each record: no call that is not needed
        for seq, kind, payload in run:
            if append(timestamp=None, key=key, value=encode_record(seq, kind, payload)) is None:
                break
            size += len(payload)
            taken += 1
        if taken:
            self._messages += taken
            self.room -= size
            self.records += taken
            first = run[0][0]
            self._pieces.append(Piece(stream.id, first, first + taken - 1, self._messages - 1))
        return taken == len(run)

    def _append(self, stream: Stream, value: bytes) -> bool:
        if self._batch.append(timestamp=None, key=stream.id, value=value) is None:
            return False
        self._messages += 1
        return True

    def packed(self) -> Packed | None:
        if not self._messages:
            return None
        self._batch.close()
        return Packed(self._batch, self._pieces, self._standings, self._messages)


def _in_order(found: ReadBatch) -> "Iterator[list[Record] | Missing]":
    """The read as runs of consecutive records and the gaps between them, ascending."""
    gaps = deque(found.gaps)
    run: list[Record] = []
    for record in found.records:
        while gaps and gaps[0].first < record[0]:
            if run:
                yield run
                run = []
            yield gaps.popleft()
        run.append(record)
    if run:
        yield run
    yield from gaps
