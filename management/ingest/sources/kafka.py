"""The events topic as a source. What waits for the broker happens in tasks of its own; the loop never does.

    read log      partitions that are held → messages → `Intake`, as long as there is room
    watch broker  once a second: where the logs end (lag), whether the broker answers, whether it is still the same log
    keep share    once a second: take and let go of partitions
    say           every 250 ms: losses and announcements to Postgres, evidence to its topic, then the offsets to begin at

What a broker does is never an error of the source: it is said once, when it goes and when it is back, and in `status`.
An error of Postgres ends the source; the next `read` raises it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from management.ingest.batch import DeadLetter, SourceBroken
from management.ingest.books import Announced
from management.ingest.sources import Round, StoredPositions
from management.ingest.sources.evidence import EvidenceTopic
from management.ingest.sources.intake import Intake
from management.ingest.sources.kafka_topics import ensure_topics
from management.ingest.sources.log_reader import UNREACHABLE, Hint, LogReader, OutOfRange
from management.ingest.sources.messages import Chunk, read_messages
from management.ingest.sources.partitions import REBALANCE_SECONDS
from management.ingest.sources.place import Message, Place, fingerprint
from shared.topics import Consumed

READY_RECORDS: Final = 50_000
READY_BYTES: Final = 64 << 20
"""So much is read ahead of the loop."""
EVIDENCE_SECONDS: Final = 0.25
COMMIT_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 1.0
SURE_SECONDS: Final = 2.0
"""No broker comes back in so little from where it lost its log. What is read longer after its last answer to a question
may come from another log, and is read once more together with the message before it."""
WINDOW_MESSAGES, MOST_UNREADABLE = 10_000, 100
"""Of so many messages no more than so many may be unreadable, or the line stops."""
_PAUSE_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 0.05
_FORGET_EVERY_SECONDS: Final = 60.0
_LAST_WORDS_SECONDS: Final = 2.0

log = structlog.get_logger()


class Share(Protocol):
    """The partitions that are this process's to read. May raise what Postgres raises."""

    @property
    def held(self) -> frozenset[int]: ...

    async def rebalance(self, partitions: int) -> list[int]:
        """Take what is due of so many partitions; gives what is to be let go of."""

    async def release(self, partition: int) -> None:
        """Nothing of it is on its way to Postgres any more."""


class Books(Protocol):
    """What beside batches is stored; a Writer's part. May raise what Postgres raises."""

    async def store_losses(self, losses: Mapping[bytes, int]) -> None: ...

    async def store_announced(self, said: Mapping[bytes, Announced]) -> None: ...


Bury = Callable[[Sequence[DeadLetter]], Awaitable[None]]
"""Keeps messages that nobody can read; raises DeadLetterFailed when it cannot."""


class KafkaSource:
    """See `Source`. One round gives up to `records` records or about `size` bytes of payload."""

    def __init__(
        self,
        bootstrap: str,
        share: Share,
        positions: StoredPositions,
        books: Books,
        bury: Bury,
        *,
        records: int = 10_000,
        size: int = 16 << 20,
    ) -> None:
        self._bootstrap = bootstrap
        self._share = share
        self._ask_positions = positions
        self._books = books
        self._bury = bury
        self._records = records
        self._size = size
        self._reader = LogReader(bootstrap)
        self._evidence = EvidenceTopic(bootstrap)
        self._intake = Intake()
        self._places: dict[int, Place] = {}
        self._assigned: dict[int, int] = {}  # partition → life of its place
        self._partitions = 0
        self._committed: dict[int, Hint] = {}
        self._uncommitted = False  # and that was said
        self._messages = 0
        self._letters: deque[int] = deque()  # numbers of the last unreadable messages
        self._buried = 0
        self._trouble: str | None = "not connected yet"
        self._was_away = False
        self._sure_until = 0.0
        self._given = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._saying = asyncio.Lock()
        self._forget_at = time.monotonic() + _FORGET_EVERY_SECONDS

    async def read(self) -> Round:
        """See `Source.read`. Waits for nothing at all."""
        if not self._tasks:
            works = (self._read_log(), self._watch_broker(), self._keep_share(), self._say())
            self._tasks = [asyncio.create_task(work) for work in works]
        for task in self._tasks:
            if task.done():
                task.result()
        found = self._intake.give(self._records, self._size)
        self._given.set()
        return found

    async def committed(self, positions: Mapping[bytes, int]) -> None:
        """See `Source.committed`."""
        self._intake.settle(positions)

    async def close(self) -> None:
        """See `Source.close`; says what is stored, as far as the broker takes it in 2 s."""
        failed = any(task.done() for task in self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not failed and self._reader.is_open and self._trouble is None:
            try:
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await self._publish(time.monotonic(), book=False)
            except UNREACHABLE as error:
                log.warning("last_words_unsaid", error=_text(error))
        await asyncio.gather(self._reader.close(), self._evidence.close())

    @property
    def status(self) -> dict[str, Any]:
        """Gauges: of each partition what was read, its end and lag; of the process what it holds and met."""
        tally = self._intake.tally
        return {
            "broker": {"reachable": self._trouble is None, "trouble": self._trouble or ""},
            "partitions": {
                str(place.partition): {
                    "read_to": place.offset, "end": place.end, "lag": place.lag, "blocked": place.blocked,
                    "streams": len(place.streams),
                }
                for place in sorted(self._places.values(), key=lambda place: place.partition)
            },
            "lag": sum(place.lag or 0 for place in self._places.values()),
            "ready": tally.ready, "parked": tally.parked, "parked_bytes": tally.parked_bytes,
            "repeats": tally.repeats, "passed_over": tally.passed_over, "unreadable": self._buried,
        }  # fmt: skip

    # read log

    async def _read_log(self) -> None:
        while True:
            try:
                if not self._reader.is_open:
                    await self._connect()
                await self._read_on()
            except OutOfRange as error:
                for partition in error.partitions:
                    self._begin_again(self._places.get(partition), "its log does not hold what was to be read next")
            except UNREACHABLE as error:
                self._went_away(error)
                self._assigned = {}
                await self._reader.close()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _connect(self) -> None:
        await ensure_topics(self._bootstrap)
        await self._evidence.close()
        await self._evidence.open()
        self._partitions = await self._evidence.event_partitions()
        asked_at = time.monotonic()
        await self._reader.open()
        self._is_back(asked_at)

    async def _read_on(self) -> None:
        while True:
            tally = self._intake.tally
            if tally.ready >= READY_RECORDS or tally.ready_bytes >= READY_BYTES:
                self._given.clear()
                await self._given.wait()
                continue
            await self._go_where_due()
            if not self._assigned:
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            for partition, messages in (await self._reader.get()).items():
                await self._take_in(partition, messages)

    async def _go_where_due(self) -> None:
        """Read what is held and nothing else, each partition from where it stands."""
        held = self._share.held
        for partition, place in list(self._places.items()):
            if partition not in held:
                self._forget_place(place)
        for partition in held - self._places.keys():
            self._places[partition] = Place(partition)
        wanted = [place for place in self._places.values() if place.is_read]
        if any(place.offset is None for place in wanted):
            await self._look_up([place for place in wanted if place.offset is None])
        # Others may have acted while the broker was asked.
        wanted = [place for place in self._places.values() if place.is_read and place.offset is not None]
        lives = {place.partition: place.life for place in wanted}
        if lives != self._assigned:
            self._reader.assign({place.partition: place.seek for place in wanted})
            self._assigned = lives

    async def _look_up(self, places: Sequence[Place]) -> None:
        numbers = [place.partition for place in places]
        lives = [place.life for place in places]
        hints = await self._reader.hints()
        begins = await self._reader.beginnings(numbers)
        ends = await self._reader.ends(numbers)
        for place, life in zip(places, lives, strict=True):
            if place.life != life:
                continue
            begin, end, hint = begins[place.partition], ends[place.partition], hints.get(place.partition)
            if hint is None or place.from_beginning:
                place.start(begin, "")
            elif begin <= hint.offset <= end:
                place.start(hint.offset, hint.last if hint.offset > begin else "")
            else:
                log.warning("log_replaced", partition=place.partition, reason="it ends, or begins, elsewhere")
                place.start(begin, "")
            place.end = end

    async def _take_in(self, partition: int, messages: Sequence[Message]) -> None:
        place = self._places.get(partition)
        if place is None or place.offset is None or self._assigned.get(partition) != place.life:
            return
        if place.verifies:
            messages = self._verified(place, messages)
        elif time.monotonic() > self._sure_until and place.verify():
            return
        chunk = read_messages(partition, place.offset or 0, messages)
        life = place.life
        unknown = self._intake.unknown(chunk.said, place)
        stored = await self._ask_positions(unknown) if unknown else {}
        await self._keep_unreadable(chunk)
        if place.life != life or self._places.get(partition) is not place:
            return
        for stream in unknown:
            self._intake.begin(stream, stored.get(stream), place)
        self._intake.take_in(chunk, place, time.monotonic())
        if chunk.blocked:
            place.blocked = chunk.blocked
            log.critical("partition_blocked", partition=partition, reason=chunk.blocked)

    def _verified(self, place: Place, messages: Sequence[Message]) -> Sequence[Message]:
        """What is new of `messages`; nothing, and begins again, when they belong to another log."""
        first = messages[0]
        if first.offset == place.seek and fingerprint(first) != place.last:
            self._begin_again(place, "another message stands where it was read last")
            return []
        place.verifies = False
        return [message for message in messages if message.offset >= place.seek]

    async def _keep_unreadable(self, chunk: Chunk) -> None:
        self._messages += len(chunk.said) + len(chunk.unreadable)
        if not chunk.unreadable:
            return
        self._letters.extend([self._messages] * len(chunk.unreadable))
        while self._letters[0] <= self._messages - WINDOW_MESSAGES:
            self._letters.popleft()
        if len(self._letters) > MOST_UNREADABLE:
            raise SourceBroken(
                f"more than {MOST_UNREADABLE} of {WINDOW_MESSAGES:,} messages cannot be read;"
                f" the first of the last is {chunk.unreadable[0].reason}"
            )
        await self._bury(chunk.unreadable)
        self._buried += len(chunk.unreadable)
        log.error("unreadable_messages", messages=len(chunk.unreadable), first=chunk.unreadable[0].reason)

    def _begin_again(self, place: Place | None, reason: str) -> None:
        if place is not None and place.offset is not None:
            log.warning("log_replaced", partition=place.partition, read_to=place.offset, reason=reason)
            place.begin_again()
            self._committed.pop(place.partition, None)

    def _forget_place(self, place: Place) -> None:
        if self._places.get(place.partition) is place:  # else another task was quicker
            del self._places[place.partition]
            self._intake.drop(place)
            self._committed.pop(place.partition, None)

    # watch broker

    async def _watch_broker(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self._reader.is_open:
                continue
            asked = {place.partition: (place, place.life, place.offset or 0) for place in self._places.values()}
            began = time.monotonic()
            try:
                ends = await self._reader.ends(asked or [0])
                self._partitions = await self._evidence.event_partitions()
            except UNREACHABLE as error:
                self._went_away(error)
                await self._mend()
                continue
            self._is_back(began)
            for partition, (place, life, read_to) in asked.items():
                if place.life == life:
                    place.end = ends[partition]
                    if place.end < read_to:
                        self._begin_again(place, "its log ends below what was read")

    async def _mend(self) -> None:
        """A broker that came back empty has no topics."""
        try:
            await ensure_topics(self._bootstrap)
        except UNREACHABLE as error:
            self._went_away(error)

    def _went_away(self, error: BaseException) -> None:
        if not self._was_away:
            log.warning("broker_away", error=_text(error))
        self._was_away, self._trouble = True, _text(error)

    def _is_back(self, asked_at: float) -> None:
        """It answered what it was asked then."""
        if self._was_away:
            log.info("broker_back")
        self._was_away, self._trouble = False, None
        self._sure_until = asked_at + SURE_SECONDS

    # keep share

    async def _keep_share(self) -> None:
        while True:
            if self._partitions:
                for partition in await self._share.rebalance(self._partitions):
                    place = self._places.setdefault(partition, Place(partition))
                    if not place.is_leaving:
                        self._intake.leave(place)
            until = time.monotonic() + REBALANCE_SECONDS
            while time.monotonic() < until:
                for place in [place for place in self._places.values() if place.is_leaving and place.is_quiet]:
                    await self._share.release(place.partition)
                    self._forget_place(place)
                    log.info("partition_let_go", partition=place.partition)
                await asyncio.sleep(_IDLE_SECONDS)

    # say

    async def _say(self) -> None:
        commit_at = time.monotonic()
        while True:
            await asyncio.sleep(EVIDENCE_SECONDS)
            now = time.monotonic()
            try:
                await self._publish(now, commit=now >= commit_at)
            except UNREACHABLE as error:
                self._went_away(error)
                await self._mend()
                await asyncio.sleep(_PAUSE_SECONDS)
            if now >= commit_at:
                commit_at = now + COMMIT_SECONDS
            if now >= self._forget_at:
                self._forget_at = now + _FORGET_EVERY_SECONDS
                self._intake.forget_old(now)

    async def _publish(self, now: float, *, commit: bool = True, book: bool = True) -> None:
        """Says what is true at this instant, in the order in which each step may rely on the one before: what streams
        said of themselves, then the evidence that covers it, then where another process may begin."""
        async with self._saying:
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
            if place.life != life or place.hint is None or self._assigned.get(place.partition) != life:
                continue
            hint = read if place.hint >= read.offset else Hint(place.hint, "")
            if hint != self._committed.get(place.partition):
                hints[place.partition] = hint
        if not hints:
            return
        try:
            await self._reader.commit(hints)
        except UNREACHABLE as error:
            if not self._uncommitted and not self._was_away:
                log.warning("offsets_not_kept", error=_text(error))
            self._uncommitted = True
            return
        self._uncommitted = False
        self._committed.update(hints)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
