"""How far each stream of a partition is shipped, and when to go back: decided here, with no I/O. Pure.

A stream goes back to the first seq that ingest has not stored only on evidence:

    PASSED_OVER  ingest has read past the offset of that record and still waits for it
    LOG_LOST     the log ends below something that it acknowledged
    TOPIC_GONE   the topic had to be made anew

What ingest says can be about a log that is gone. So an offset beyond the log's end, as known by a question asked
after it was said, is no evidence.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from edge.shipper.runs import Run, Runs
from shared.journal.shipped import Shipped
from shared.topics import Consumed

PASSED_OVER: Final = "passed_over"
LOG_LOST: Final = "log_lost"
TOPIC_GONE: Final = "topic_gone"
PATIENCE: Final = 3
"""So often a stream goes back to the same record at once; then what keeps ingest from taking it is not the log."""
FIRST_REST_SECONDS: Final = 5.0
LONGEST_REST_SECONDS: Final = 60.0
_NOT_IN_THE_LOG: Final = -1


class Piece(NamedTuple):
    """The seqs first … last of a stream in a batch; `place` is that of the last one's message in it, from 0. A
    `gap` is one message."""

    stream: bytes
    first: int
    last: int
    place: int
    gap: bool = False


class GoneBack(NamedTuple):
    """`stream` is sent again from `next_seq` on, `records` of which were acknowledged before."""

    stream: bytes
    reason: str
    next_seq: int
    records: int


class Question(NamedTuple):
    """Asks for the log's end; see `PartitionProgress.log_end`."""

    number: int
    generation: int
    top: int


class StreamProgress:
    """What is known of one stream."""

    __slots__ = ("_same_place", "consumed", "next_seq", "rest_until", "runs")

    def __init__(self, next_seq: int, consumed: int, before: int | None) -> None:
        self.next_seq = next_seq
        """The first seq that is not acknowledged: what is sent next."""
        self.consumed = consumed
        """The first seq that ingest has not stored, as it last said."""
        self.runs = Runs(before)
        self.rest_until = 0.0
        self._same_place = (0, 0)  # (where it was passed over last, how often)

    def move_to(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.runs.drop_from(next_seq)

    def passed_over_at(self, seq: int, now: float) -> None:
        place, times = self._same_place
        times = times + 1 if place == seq else 1
        self._same_place = (seq, times)
        rest = FIRST_REST_SECONDS * 2 ** min(times - PATIENCE, 10) if times >= PATIENCE else 0.0
        self.rest_until = now + min(rest, LONGEST_REST_SECONDS)


class PartitionProgress:
    """The streams that this shipper sends to one partition. Offsets are those of the events topic; `now` is any clock
    that only goes forward, in seconds."""

    def __init__(self) -> None:
        self.streams: dict[bytes, StreamProgress] = {}
        self.read_to = 0
        """Ingest has dealt with all messages below this offset."""
        self.generation = 0
        """Of the log: one more each time it was lost."""
        self._top = _NOT_IN_THE_LOG  # the highest offset acknowledged in it
        self._end = 0  # the log is known to be at least so long
        self._questions = 0
        self._unjudged: dict[bytes, tuple[Consumed, int]] = {}

    def join(self, stream: bytes, consumed: int, shipped: Shipped | None = None) -> None:
        """Takes the stream in: consumed before `consumed` as far as known, with what an earlier life remembered."""
        if shipped is None or shipped.next_seq <= consumed:
            self.streams[stream] = StreamProgress(consumed, consumed, None)
            return
        before = shipped.end_offset - 1 if shipped.end_offset else None
        self.streams[stream] = StreamProgress(shipped.next_seq, consumed, before)
        self._top = max(self._top, _NOT_IN_THE_LOG if before is None else before)

    def leave(self, stream: bytes) -> None:
        self.streams.pop(stream, None)
        self._unjudged.pop(stream, None)

    def end_offset(self, stream: bytes) -> int | None:
        """What of the stream was acknowledged lies below this offset; None when nobody knows."""
        bound = self.streams[stream].runs.last_bound
        return None if bound is None else bound + 1

    def acked(self, base_offset: int, messages: int, pieces: Iterable[Piece]) -> list[GoneBack]:
        """A batch of so many messages was acknowledged from `base_offset` on."""
        if base_offset <= self._top:
            gone_back = self.lost(LOG_LOST)
            self._end = base_offset + messages
            return gone_back
        self._top = base_offset + messages - 1
        self._end = max(self._end, base_offset + messages)
        for piece in pieces:
            stream = self.streams.get(piece.stream)
            # It may have gone back, or been told of what is stored, while the batch was on its way.
            if stream is None or not piece.first <= stream.next_seq <= piece.last:
                continue
            stream.runs.append(Run(stream.next_seq, piece.last, base_offset + piece.place, piece.gap))
            stream.next_seq = piece.last + 1
        return []

    def said(self, stream: bytes, said: Consumed, now: float) -> GoneBack | None:
        """Ingest said how far it is with the stream. `said.offset` is one of this partition, or 0."""
        progress = self.streams.get(stream)
        if progress is None:
            return None
        if said.next_seq >= progress.consumed:
            progress.consumed = said.next_seq
            self._forget_consumed(progress, said)
        self._unjudged.pop(stream, None)
        if said.offset > self._end:
            self._unjudged[stream] = (said, self._questions)
            return None
        return self._judge(stream, progress, said, now)

    def question(self) -> Question:
        """To be made before the log's end is asked for, and given with the answer."""
        self._questions += 1
        return Question(self._questions, self.generation, self._top)

    def log_end(self, end: int, question: Question, now: float) -> list[GoneBack]:
        """The answer to `question`: the log's next message gets the offset `end`."""
        if question.generation != self.generation:
            return []
        if end <= question.top:
            gone_back = self.lost(LOG_LOST)
            self._end = end
            return gone_back
        self._end = max(self._end, end)
        for progress in self.streams.values():
            if progress.runs.before is None:  # whatever was acknowledged in an earlier life lies before now
                progress.runs.before = end - 1
        return self._judge_what_waits(question, now)

    def lost(self, reason: str) -> list[GoneBack]:
        """The log is gone, or a part of it: all streams go back."""
        self.generation += 1
        self._top, self._end, self.read_to = _NOT_IN_THE_LOG, 0, 0
        gone_back = []
        for stream, progress in self.streams.items():
            records = progress.next_seq - progress.consumed
            progress.move_to(progress.consumed)
            progress.runs = Runs(None)
            if records > 0:
                gone_back.append(GoneBack(stream, reason, progress.consumed, records))
        return gone_back

    def group_read_to(self, offset: int) -> None:
        """Ingest's group need not read the events below `offset` again."""
        if offset <= self._end:  # else it speaks of a log that is gone
            self.read_to = max(self.read_to, offset)

    def _forget_consumed(self, progress: StreamProgress, said: Consumed) -> None:
        progress.runs.drop_below(said.next_seq)
        if said.next_seq > progress.next_seq:
            # Stored from elsewhere, or acknowledged before this life: ingest met it below where it stands.
            progress.next_seq = said.next_seq
            progress.runs.before = said.offset - 1 if said.offset else None

    def _judge_what_waits(self, question: Question, now: float) -> list[GoneBack]:
        gone_back = []
        for stream, (said, asked) in list(self._unjudged.items()):
            if question.number <= asked:  # asked before it was said: the log may have grown since
                continue
            del self._unjudged[stream]
            if said.offset <= self._end:
                judged = self._judge(stream, self.streams[stream], said, now)
                if judged is not None:
                    gone_back.append(judged)
        return gone_back

    def _judge(self, stream: bytes, progress: StreamProgress, said: Consumed, now: float) -> GoneBack | None:
        self.read_to = max(self.read_to, said.offset)
        if said.next_seq >= progress.next_seq or now < progress.rest_until:
            return None
        bound = progress.runs.bound(said.next_seq)
        if bound is None or said.offset <= bound:
            return None
        records = progress.next_seq - said.next_seq
        progress.consumed = said.next_seq  # lower than before where Postgres was put back to an earlier state
        progress.move_to(said.next_seq)
        progress.passed_over_at(said.next_seq, now)
        return GoneBack(stream, PASSED_OVER, said.next_seq, records)
