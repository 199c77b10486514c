"""Covers the shipper's decisions as a whole, against a model of everything around them: a log that loses its tail, is
wiped and grows by what others write; an ingest that parks little, passes over, dies, speaks late and reads twice;
acknowledgements that come late or never; a shipper that is killed and remembers an older state.

Whatever happens: once it stops happening, everything journaled is stored. And while nothing is lost, nothing is sent
twice, however late ingest reads, speaks and is heard.
"""

from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from edge.shipper.progress import LONGEST_REST_SECONDS, GoneBack, PartitionProgress, Piece, Question
from shared.journal import Shipped
from shared.topics import Consumed

STREAMS: Final = (b"a" * 16, b"b" * 16)
FOREIGN: Final = b"f" * 16
PARKED: Final = 4
ROUNDS: Final = 40


@dataclass
class Message:
    """Seqs first … last of a stream; `standing`: what its worker says instead."""

    stream: bytes
    first: int = 0
    last: int = 0
    standing: int = 0


@dataclass
class Ingest:
    """Stores at once what it can, says later where it stands."""

    log: list[Message]
    next_seq: dict[bytes, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 1))
    parked: dict[bytes, dict[int, int]] = field(default_factory=lambda: {stream: {} for stream in STREAMS})
    offset: int = 0
    hint: int = 0
    seen: dict[bytes, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 1))
    met: set[bytes] = field(default_factory=set)

    def read(self, messages: int) -> None:
        if self.offset > len(self.log):
            self.offset = 0  # the log is not the one that was read
            self.hint = 0
        for message in self.log[self.offset : self.offset + messages]:
            self.offset += 1
            if message.stream != FOREIGN:
                self._take(message)

    def _take(self, message: Message) -> None:
        stream = message.stream
        self.seen[stream] = max(self.seen[stream], message.standing or message.last + 1)
        if not message.standing or message.standing > self.next_seq[stream]:
            self.met.add(stream)
        if message.standing or message.last < self.next_seq[stream]:
            return
        parked = self.parked[stream]
        if message.first <= self.next_seq[stream]:
            self.next_seq[stream] = message.last + 1
            while run := next((first for first in parked if first <= self.next_seq[stream]), 0):
                self.next_seq[stream] = max(self.next_seq[stream], parked.pop(run) + 1)
        elif len(parked) < PARKED:
            parked[message.first] = message.last

    def say(self) -> dict[bytes, Consumed]:
        said = {
            stream: Consumed(self.next_seq[stream], 0, self.offset)
            for stream in STREAMS
            if stream in self.met or self.seen[stream] > self.next_seq[stream]
        }
        self.met.clear()
        self.hint = self.offset
        return said

    def die(self) -> None:
        """Postgres keeps the positions; what was parked, and what was met and not said, is gone."""
        self.offset = self.hint
        self.parked = {stream: {} for stream in STREAMS}
        self.seen = dict(self.next_seq)
        self.met.clear()


class Shipping(RuleBasedStateMachine):
    """Nothing is lost here; everything may be late."""

    @initialize()
    def begin(self) -> None:
        self.log: list[Message] = []
        self.written = dict.fromkeys(STREAMS, 0)
        self.progress = PartitionProgress()
        for stream in STREAMS:
            self.progress.join(stream, 1)
        self.remembered: dict[bytes, tuple[int, Shipped | None]] = dict.fromkeys(STREAMS, (1, None))
        self.in_flight: tuple[int | None, list[Piece], int] | None = None
        self.ingest = Ingest(self.log)
        self.topic: dict[bytes, Consumed] = {}
        self.unheard: dict[bytes, Consumed] = {}
        self.question: Question | None = None
        self.now = 0.0
        self.gone_back: list[GoneBack] = []

    @rule(stream=st.sampled_from(STREAMS), records=st.integers(1, 10))
    def journal(self, stream: bytes, records: int) -> None:
        self.written[stream] += records

    @rule(share=st.integers(1, 6), gap=st.booleans())
    def send(self, share: int, gap: bool) -> None:
        """A batch leaves, and lands."""
        self._send(share, gap=gap, lands=True)

    def _send(self, share: int, *, gap: bool, lands: bool) -> None:
        if self.in_flight is not None:
            return
        messages: list[Message] = []
        pieces: list[Piece] = []
        for stream in STREAMS:
            first = self.progress.streams[stream].next_seq
            last = min(first + share - 1, self.written[stream])
            if last < first:
                continue
            if gap:
                messages.append(Message(stream, first, last))
            else:
                messages += [Message(stream, seq, seq) for seq in range(first, last + 1)]
            pieces.append(Piece(stream, first, last, len(messages) - 1, gap))
        if not pieces:
            return
        self.in_flight = (len(self.log) if lands else None, pieces, len(messages))
        if lands:
            self.log += messages

    @rule()
    def acknowledge(self) -> None:
        """The answer arrives, if there is one."""
        if self.in_flight is None:
            return
        base_offset, pieces, messages = self.in_flight
        self.in_flight = None
        if base_offset is not None:
            self.gone_back += self.progress.acked(base_offset, messages, pieces)

    @rule(stream=st.sampled_from(STREAMS))
    def stand(self, stream: bytes) -> None:
        self.log.append(Message(stream, standing=self.written[stream] + 1))

    @rule(messages=st.integers(1, 10))
    def others_write(self, messages: int) -> None:
        self.log += [Message(FOREIGN)] * messages

    @rule(messages=st.integers(1, 15))
    def ingest_reads(self, messages: int) -> None:
        self.ingest.read(messages)

    @rule()
    def ingest_says(self) -> None:
        said = self.ingest.say()
        self.topic |= said
        self.unheard |= said

    @rule()
    def hear(self) -> None:
        unheard, self.unheard = self.unheard, {}
        self.now += 1.0
        for stream, said in unheard.items():
            back = self.progress.said(stream, said, self.now)
            self.gone_back += [] if back is None else [back]

    @rule()
    def ask(self) -> None:
        self.question = self.progress.question()

    @rule()
    def answer(self) -> None:
        if self.question is not None:
            self.gone_back += self.progress.log_end(len(self.log), self.question, self.now)
            self.question = None

    @rule()
    def remember(self) -> None:
        for stream, progress in self.progress.streams.items():
            shipped = Shipped(0, progress.next_seq, self.progress.end_offset(stream))
            self.remembered[stream] = (progress.consumed, shipped)

    @rule()
    def restart(self) -> None:
        """In order: what is on its way arrives, and is remembered."""
        self.acknowledge()
        self.remember()
        self._restart(forgets=False)

    def _restart(self, *, forgets: bool) -> None:
        self.progress = PartitionProgress()
        self.in_flight = self.question = None
        for stream in STREAMS:
            consumed, shipped = self.remembered[stream]
            self.progress.join(stream, consumed, None if forgets else shipped)
        self.unheard = dict(self.topic)

    def teardown(self) -> None:
        """All goes well from here on."""
        for _ in range(ROUNDS):
            if all(self.ingest.next_seq[stream] == self.written[stream] + 1 for stream in STREAMS):
                return self.at_end()
            self.acknowledge()
            self.ask()
            self.answer()
            for stream in STREAMS:
                self.stand(stream)
            self._send(1_000, gap=False, lands=True)
            self.acknowledge()
            self.ingest_reads(len(self.log) + 1)
            self.ingest_says()
            self.now += LONGEST_REST_SECONDS
            self.hear()
            self.ask()
            self.answer()
        raise AssertionError(f"stored {self.ingest.next_seq}, journaled {self.written}")

    def at_end(self) -> None:
        assert self.gone_back == []
        for stream in STREAMS:
            sent = [message.first for message in self.log if message.stream == stream and not message.standing]
            assert sent == sorted(set(sent)), "nothing was lost, and records are in the log twice"


class FaultyShipping(Shipping):
    """Everything is lost that can be."""

    @rule(share=st.integers(1, 6), gap=st.booleans())
    def send_in_vain(self, share: int, gap: bool) -> None:
        self._send(share, gap=gap, lands=False)

    @rule()
    def give_up(self) -> None:
        """The deadline of what is on its way passes; it may have landed."""
        self.in_flight = None

    @rule()
    def ingest_dies(self) -> None:
        self.ingest.die()

    @rule(messages=st.integers(1, 20))
    def lose_tail(self, messages: int) -> None:
        del self.log[max(len(self.log) - messages, 0) :]

    @rule(regrown=st.integers(0, 30))
    def wipe(self, regrown: int) -> None:
        self.log[:] = [Message(FOREIGN)] * regrown

    @rule()
    def lose_evidence(self) -> None:
        self.topic, self.unheard = {}, {}

    @rule(forgets=st.booleans())
    def die(self, forgets: bool) -> None:
        self._restart(forgets=forgets)

    def at_end(self) -> None:
        for _, _, next_seq, records in self.gone_back:
            assert next_seq >= 1
            assert records > 0


LONG = settings(max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
TestNothingLost = Shipping.TestCase
TestNothingLost.settings = LONG
TestEverythingLost = FaultyShipping.TestCase
TestEverythingLost.settings = LONG
