"""Covers ingest from Kafka as a whole, its pure parts (`Intake`, `Place`, `read_messages`) together with the shipper's
(`PartitionProgress`), in a model of everything around them: journals that grow, a log that loses its tail or all it
had, a Postgres that answers late, shippers and ingests that are killed, a zombie whose commit comes too late.

Whatever happens: each record is stored once, in order; and once it stops happening, everything journaled is stored.
And while nothing is lost, nothing is called missing, however late Postgres stores and ingest speaks.
"""

from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edge.shipper.progress import LONGEST_REST_SECONDS, GoneBack, PartitionProgress, Piece
from management.ingest.batch import Batch, batch_of
from management.ingest.sources import parking
from management.ingest.sources.intake import Intake
from management.ingest.sources.messages import read_messages
from management.ingest.sources.place import Place, fingerprint
from shared import topics
from shared.journal import FIRST_SEQ, Shipped
from shared.topics import Consumed, Standing

STREAMS: Final = (b"a" * 16, b"b" * 16)
FOREIGN: Final = b"f" * 16
CLICK: Final = 1
ROUNDS: Final = 60
ROOMY: Final = parking.PARKED_RECORDS


@dataclass
class Message:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass
class Broker:
    """`clock` makes each message another one, as the log's own time stamps do."""

    log: list[Message] = field(default_factory=list)
    hint: tuple[int, str] | None = None
    said: dict[bytes, Consumed] = field(default_factory=dict)
    clock: int = 0

    def append(self, key: bytes, value: bytes) -> int:
        self.clock += 1
        self.log.append(Message(len(self.log), self.clock, key, value))
        return len(self.log) - 1


@dataclass
class Postgres:
    """Positions by compare-and-set under an epoch; `stored` is every seq in the order of storing."""

    epoch: int = 0
    next_seq: dict[bytes, int] = field(default_factory=dict)
    stored: dict[bytes, list[int]] = field(default_factory=lambda: {stream: [] for stream in (*STREAMS, FOREIGN)})

    def commit(self, batch: Batch, epoch: int) -> bool:
        if epoch != self.epoch:
            return False
        for stream, move in batch.moves.items():
            assert self.next_seq.get(stream, FIRST_SEQ) == move.expected, "the holder knows where a stream stands"
            assert (stream in self.next_seq) == move.known
        for read in batch.reads:
            self.stored[read.stream] += [seq for seq, _, _ in read.records if seq >= read.begins]
        self.next_seq |= batch.positions
        return True


class Ingest:
    """One life: what KafkaSource and the loop do, without their waits."""

    def __init__(self, broker: Broker, postgres: Postgres) -> None:
        postgres.epoch += 1
        self.epoch = postgres.epoch
        self.broker, self.postgres = broker, postgres
        self.intake, self.place = Intake(), Place(0)
        self.batch: Batch | None = None
        self.now = 0.0
        self._start()

    def _start(self) -> None:
        hint = self.broker.hint
        if hint is None or self.place.from_beginning or hint[0] > len(self.broker.log):
            self.place.start(0, "")
        else:
            self.place.start(hint[0], hint[1] if hint[0] > 0 else "")

    def watch(self) -> None:
        """A broker that was away is back."""
        assert self.place.offset is not None
        self.place.verify()
        if len(self.broker.log) < self.place.offset:
            self.place.begin_again()
            self._start()

    def read(self, messages: int) -> None:
        if self.place.seek > len(self.broker.log):  # OffsetOutOfRange
            self.place.begin_again()
            self._start()
        found = self.broker.log[self.place.seek : self.place.seek + messages + self.place.verifies]
        if not found:
            return
        if self.place.verifies:
            if fingerprint(found[0]) != self.place.last:
                self.place.begin_again()
                self._start()
                return
            self.place.verifies = False
            found = found[1:]
        assert self.place.offset is not None
        chunk = read_messages(0, self.place.offset, found)
        for stream in self.intake.unknown(chunk.said, self.place):
            self.intake.begin(stream, self.postgres.next_seq.get(stream), self.place)
        self.intake.take_in(chunk, self.place, self.now)

    def give(self, records: int) -> None:
        if self.batch is None:
            batch = batch_of(self.intake.give(records, 1 << 20).reads)
            self.batch = None if batch.is_empty else batch

    def commit(self) -> None:
        batch, self.batch = self.batch, None
        if batch is not None and self.postgres.commit(batch, self.epoch):
            self.intake.settle(batch.positions)

    def say(self, *, dies_before_commit: bool = False) -> None:
        self.now += 1.0
        words = self.intake.words(self.now)
        self.intake.standing.clear()
        for stream, _, _, evidence in words:
            self.broker.said[stream.id] = Consumed(evidence.next_seq, 0, evidence.offset)
        self.intake.said(words)
        hint = self.place.hint
        if hint is not None and not self.place.verifies and not dies_before_commit:
            self.broker.hint = (hint, self.place.last if hint == self.place.offset else "")


class FromShipperToPostgres(RuleBasedStateMachine):
    """Nothing that was acknowledged is lost here; everything may be late, and everybody may die."""

    @initialize(parked=st.sampled_from([0, 3, ROOMY]))
    def begin(self, parked: int) -> None:
        parking.PARKED_RECORDS = parked  # type: ignore[misc]  # a small one is full sooner
        self.written = dict.fromkeys(STREAMS, 0)
        self.finished: set[bytes] = set()
        self.broker, self.postgres = Broker(), Postgres()
        self.ingest = Ingest(self.broker, self.postgres)
        self.zombie: Ingest | None = None
        self.now = 0.0
        self.remembered: dict[bytes, Shipped | None] = dict.fromkeys(STREAMS)
        self.consumed = dict.fromkeys(STREAMS, FIRST_SEQ)
        self.gone_back: list[GoneBack] = []
        self.may_go_back = False
        self._start_shipper()

    def _start_shipper(self) -> None:
        self.progress = PartitionProgress()
        for stream in STREAMS:
            self.progress.join(stream, self.consumed[stream], self.remembered[stream])

    @rule(stream=st.sampled_from(STREAMS), records=st.integers(1, 8), shipped=st.integers(0, 8))
    def journal(self, stream: bytes, records: int, shipped: int) -> None:
        if stream not in self.finished:
            self.written[stream] += records
        if shipped:
            self._ship(stream, shipped)

    @rule(stream=st.sampled_from(STREAMS), records=st.integers(1, 6))
    def ship_without_an_answer(self, stream: bytes, records: int) -> None:
        """The batch lands, but the shipper is killed before it hears of it."""
        self._ship(stream, records)
        self.kill_shipper()

    def _ship(self, stream: bytes, records: int) -> None:
        first = self.progress.streams[stream].next_seq
        last = min(first + records - 1, self.written[stream])
        if last < first:
            return
        base = len(self.broker.log)
        for seq in range(first, last + 1):
            self.broker.append(stream, topics.encode_record(seq, CLICK, b"{}"))
        self.gone_back += self.progress.acked(base, last - first + 1, [Piece(stream, first, last, last - first)])

    @rule()
    def remember(self) -> None:
        for stream, progress in self.progress.streams.items():
            self.consumed[stream] = progress.consumed
            self.remembered[stream] = Shipped(0, progress.next_seq, self.progress.end_offset(stream))

    @rule()
    def kill_shipper(self) -> None:
        self._start_shipper()

    @rule(stream=st.sampled_from(STREAMS))
    def stand(self, stream: bytes) -> None:
        self.broker.append(stream, topics.encode_standing(Standing(self.written[stream] + 1, 0, False)))

    @rule(stream=st.sampled_from(STREAMS))
    def finish(self, stream: bytes) -> None:
        """The worker is gone, everything it left is sent."""
        if self.progress.streams[stream].next_seq > self.written[stream]:
            self.finished.add(stream)
            self.broker.append(stream, topics.encode_standing(Standing(self.written[stream] + 1, 0, True)))

    @rule(messages=st.integers(1, 8))
    def others_write(self, messages: int) -> None:
        for _ in range(messages):
            self.broker.append(FOREIGN, topics.encode_standing(Standing(1, 0, False)))

    @rule(
        messages=st.integers(0, 12),
        records=st.integers(0, 10),
        commits=st.booleans(),
        says=st.booleans(),
        hears=st.booleans(),
    )
    def ingest_works(self, messages: int, records: int, commits: bool, says: bool, hears: bool) -> None:
        """Any part of what it does, in the usual order; a shipper may hear of it at once."""
        self.ingest.read(messages)
        if records:
            self.ingest.give(records)
        if commits:
            self.ingest.commit()
        if says:
            self.ingest.say()
        if hears:
            self.hear()

    @rule()
    def ingest_speaks_and_is_killed(self) -> None:
        self.ingest.say(dies_before_commit=True)
        self.ingest_is_killed()

    def hear(self) -> None:
        self.now += 1.0
        question = self.progress.question()
        for stream in STREAMS:
            said = self.broker.said.get(stream)
            if said is not None:
                back = self.progress.said(stream, said, self.now)
                self.gone_back += [] if back is None else [back]
        self.gone_back += self.progress.log_end(len(self.broker.log), question, self.now)
        question = self.progress.question()
        self.gone_back += self.progress.log_end(len(self.broker.log), question, self.now)
        assert self.may_go_back or not self.gone_back, self.gone_back
        if self.gone_back:  # before anything else: with an older memory it would take the new log for the old one
            self.gone_back.clear()
            self.remember()

    @rule()
    def ingest_is_killed(self) -> None:
        self.ingest = Ingest(self.broker, self.postgres)

    @rule()
    def ingest_freezes_and_is_replaced(self) -> None:
        self.zombie, self.ingest = self.ingest, Ingest(self.broker, self.postgres)

    @precondition(lambda self: self.zombie is not None)
    @rule()
    def the_zombie_thaws(self) -> None:
        """In mid-batch; what it says is older than what was said since."""
        assert self.zombie is not None
        zombie, self.zombie = self.zombie, None
        before = {stream: list(seqs) for stream, seqs in self.postgres.stored.items()}
        zombie.give(100)
        zombie.commit()
        assert self.postgres.stored == before

    def teardown(self) -> None:
        """Nothing more happens to anybody."""
        if not hasattr(self, "broker"):
            return
        parking.PARKED_RECORDS = ROOMY  # type: ignore[misc]
        self.may_go_back = True
        for _ in range(ROUNDS):
            self.now += LONGEST_REST_SECONDS
            for stream in STREAMS:
                self._ship(stream, 1000)
                # Of a finished stream too, until it is consumed: a log that is lost takes the last word with it.
                said = Standing(self.written[stream] + 1, 0, stream in self.finished)
                self.broker.append(stream, topics.encode_standing(said))
            self.ingest.watch()
            for _ in range(4):
                self.ingest.read(1000)
                self.ingest.give(1000)
                self.ingest.commit()
            self.ingest.say()
            self.hear()
        whole = {stream: list(range(1, self.written[stream] + 1)) for stream in STREAMS}
        assert {stream: self.postgres.stored[stream] for stream in STREAMS} == whole
        consumed = {stream: progress.consumed for stream, progress in self.progress.streams.items()}
        assert consumed == {stream: self.written[stream] + 1 for stream in STREAMS if self.written[stream]} | {
            stream: FIRST_SEQ for stream in STREAMS if not self.written[stream]
        }
        tally = self.ingest.intake.tally
        assert (tally.ready, tally.ready_bytes, tally.parked, tally.parked_bytes) == (0, 0, 0, 0)
        assert self.ingest.place.hint == len(self.broker.log), "nobody has to read any of it again"


class WithLosses(FromShipperToPostgres):
    """The broker forgets what it acknowledged."""

    @rule(messages=st.integers(1, 30))
    def the_tail_is_lost(self, messages: int) -> None:
        self.may_go_back = True
        del self.broker.log[max(0, len(self.broker.log) - messages) :]
        self.ingest.watch()

    @rule(stream=st.sampled_from(STREAMS))
    def the_tail_is_lost_and_written_anew(self, stream: bytes) -> None:
        """Before ingest looks: the log is as long as it was, or longer."""
        self.may_go_back = True
        lost = len(self.broker.log) // 2
        del self.broker.log[lost:]
        self._end(stream)
        self.others_write(lost + 3)
        self.ingest.watch()

    def _end(self, stream: bytes) -> None:
        """The worker's last records, and its last word."""
        self.journal(stream, 3, 0)
        while self.progress.streams[stream].next_seq <= self.written[stream]:
            self._ship(stream, 100)
        self.finish(stream)
        self.remember()

    @rule(stream=st.sampled_from(STREAMS), refilled=st.integers(0, 60))
    def the_broker_is_wiped(self, stream: bytes, refilled: int) -> None:
        self.may_go_back = True
        self.broker.log.clear()
        self.broker.said.clear()
        self.broker.hint = None
        self.gone_back += self.progress.lost("topic_gone")
        self._end(stream)
        self.others_write(refilled)
        self.ingest.watch()


_SETTINGS = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
TestNothingIsLost = FromShipperToPostgres.TestCase
TestNothingIsLost.settings = _SETTINGS
TestMuchIsLost = WithLosses.TestCase
TestMuchIsLost.settings = _SETTINGS
