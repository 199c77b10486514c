"""What one transaction stores: rows, dead letters, gaps, and how far each stream moves by it. Pure.

A `StreamRead` says which seqs it settles; every one of them is a record or lies in a gap, so that what a batch
stores, dead-letters and declares lost always adds up to how far its streams move.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final, NamedTuple

from management.ingest.decode import ClickRow, DecodeError, PostbackRow, StrangerRow, decode

Record = tuple[int, int, bytes]
"""(seq, kind, payload)"""
_MAX_REASON: Final = 500


class SourceBroken(Exception):
    """The source passed over seqs without a word: a defect, so nothing may be stored from it."""


class Gap(NamedTuple):
    """Seqs first … last that can be read nowhere; `reason` as the source gives it."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamRead:
    """A run of one stream: settles the seqs from `begins` up to, not including, `next_seq`.

    `records` ascend; those below `begins` are repeats and are skipped. `known` is False until the stream has a
    position in Postgres.
    """

    stream: bytes
    begins: int
    next_seq: int
    known: bool
    records: Sequence[Record]
    gaps: Sequence[Gap] = ()

    @property
    def is_empty(self) -> bool:
        return self.next_seq <= self.begins


class DeadLetter(NamedTuple):
    """`number`: the record's, counted over all that were ever settled; `accepted`: the limit passes it over."""

    stream: bytes
    seq: int
    kind: int
    payload: bytes
    reason: str
    number: int = 0
    accepted: bool = False


def dead_letter(stream: bytes, record: Record, reason: str) -> DeadLetter:
    """A letter that Postgres takes whatever the reason quotes: no NUL, no half surrogate, 500 characters at most."""
    seq, kind, payload = record
    storable = reason.replace("\0", "\\0").encode(errors="replace").decode()
    return DeadLetter(stream, seq, kind, payload, storable[:_MAX_REASON])


class Lost(NamedTuple):
    stream: bytes
    gap: Gap


class Move(NamedTuple):
    """A stream's position before and after; `known` False: it gets its first one."""

    stream: bytes
    expected: int
    next_seq: int
    known: bool


@dataclass(slots=True)
class Batch:
    """`days`: days since 1970 (UTC) that the clicks fall on. `clicks_of`: how many each stream has. `reads` is what the
    batch was made of."""

    reads: list[StreamRead] = field(default_factory=list)
    clicks: list[ClickRow] = field(default_factory=list)
    postbacks: list[PostbackRow] = field(default_factory=list)
    strangers: list[StrangerRow] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    moves: dict[bytes, Move] = field(default_factory=dict)
    clicks_of: Counter[bytes] = field(default_factory=Counter)

    @property
    def days(self) -> set[int]:
        return {click.day for click in self.clicks}

    @property
    def is_empty(self) -> bool:
        return not self.moves

    @property
    def positions(self) -> dict[bytes, int]:
        """Stream → the seq that follows this batch."""
        return {stream: move.next_seq for stream, move in self.moves.items()}

    def add(self, read: StreamRead) -> None:
        """Decode `read` into the batch. Reads of one stream follow one another. Raises SourceBroken."""
        if read.is_empty:
            return
        earlier = self.moves.get(read.stream)
        if earlier is not None and earlier.next_seq != read.begins:
            raise SourceBroken(f"stream {read.stream.hex()}: {read.begins} follows {earlier.next_seq}")
        records = [record for record in read.records if record[0] >= read.begins]
        settled = len(records) + sum(gap.last - gap.first + 1 for gap in read.gaps)
        if settled != read.next_seq - read.begins:
            raise SourceBroken(
                f"stream {read.stream.hex()}: {settled} records and gaps from {read.begins} to {read.next_seq}"
            )
        before = len(self.clicks)
        self._decode(read.stream, records)
        self.clicks_of[read.stream] += len(self.clicks) - before
        self.lost += (Lost(read.stream, gap) for gap in read.gaps)
        self.moves[read.stream] = (
            Move(read.stream, read.begins, read.next_seq, read.known)
            if earlier is None
            else earlier._replace(next_seq=read.next_seq)
        )
        self.reads.append(read)

    def _decode(self, stream: bytes, records: Iterable[Record]) -> None:
        take_click, take_postback, take_stranger = self.clicks.append, self.postbacks.append, self.strangers.append
        for seq, kind, payload in records:
            try:
                row = decode(stream, seq, kind, payload)
            except DecodeError as error:
                self.dead.append(dead_letter(stream, (seq, kind, payload), str(error)))
                continue
            if type(row) is ClickRow:
                take_click(row)
            elif type(row) is PostbackRow:
                take_postback(row)
            else:
                take_stranger(row)  # type: ignore[arg-type]  # decode gives nothing fourth


def batch_of(reads: Iterable[StreamRead]) -> Batch:
    batch = Batch()
    for read in reads:
        batch.add(read)
    return batch


def slices(read: StreamRead, size: int) -> Iterator[StreamRead]:
    """`read` in pieces of at most `size` records, so that decoding need not hold the loop for the whole of it."""
    while len(read.records) > size and read.records[size][0] > read.begins:
        head, read = cut(read, read.records[size][0])
        yield head
    yield read


def cut(read: StreamRead, seq: int) -> tuple[StreamRead, StreamRead]:
    """What `read` settles below `seq`, which it settles too, and from `seq` on: the first is stored first.

    `seq` is a record's or a gap's first, so no gap reaches over it.
    """
    place = bisect_left(read.records, seq, key=_seq_of)
    before = replace(
        read, next_seq=seq, records=read.records[:place], gaps=[gap for gap in read.gaps if gap.last < seq]
    )
    after = replace(
        read, begins=seq, known=True, records=read.records[place:], gaps=[gap for gap in read.gaps if gap.first >= seq]
    )
    return before, after


def halve(reads: Sequence[StreamRead]) -> tuple[Sequence[StreamRead], Sequence[StreamRead]] | None:
    """Two parts that settle the same, the first to be stored before the second; None when nothing is left to part.

    Records and gaps count one each, so what cannot be halved is a single record or a single gap.
    """
    places = [
        (index, seq)
        for index, read in enumerate(reads)
        for seq in sorted([seq for seq, _, _ in read.records if seq >= read.begins] + [gap.first for gap in read.gaps])
    ]
    if len(places) < 2:
        return None
    index, seq = places[len(places) // 2]
    if seq == reads[index].begins:
        return reads[:index], reads[index:]
    before, after = cut(reads[index], seq)
    return [*reads[:index], before], [after, *reads[index + 1 :]]


_seq_of = itemgetter(0)
