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
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from management.ingest.sources import Round, StoredPositions
from management.ingest.sources.contact import Contact, reason_of
from management.ingest.sources.evidence import EvidenceTopic
from management.ingest.sources.intake import Intake
from management.ingest.sources.kafka_topics import ensure_topics
from management.ingest.sources.log_reader import UNREACHABLE, LogReader, OutOfRange
from management.ingest.sources.messages import read_messages
from management.ingest.sources.partitions import REBALANCE_SECONDS
from management.ingest.sources.place import Message, Place, fingerprint
from management.ingest.sources.reporter import Books, Reporter
from management.ingest.sources.unreadable import Bury, Unreadable

READY_RECORDS: Final = 50_000
READY_BYTES: Final = 64 << 20
"""So much is read ahead of the loop."""
EVIDENCE_SECONDS: Final = 0.25
COMMIT_SECONDS: Final = 1.0
WATCH_SECONDS: Final = 1.0
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
        self._records = records
        self._size = size
        self._reader = LogReader(bootstrap)
        self._evidence = EvidenceTopic(bootstrap)
        self._intake = Intake()
        self._places: dict[int, Place] = {}
        self._assigned: dict[int, int] = {}  # partition → life of its place
        self._partitions = 0
        self._unreadable = Unreadable(bury)
        self._contact = Contact()
        self._reporter = Reporter(
            self._intake, self._places, self._is_assigned, books, self._evidence, self._reader, self._contact
        )
        self._given = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
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
        if not failed and self._reader.is_open and self._contact.trouble is None:
            try:
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await self._reporter.report(time.monotonic(), book=False)
            except UNREACHABLE as error:
                log.warning("last_words_unsaid", error=reason_of(error))
        await asyncio.gather(self._reader.close(), self._evidence.close())

    @property
    def status(self) -> dict[str, Any]:
        """Gauges: of each partition what was read, its end and lag; of the process what it holds and met."""
        tally = self._intake.tally
        return {
            "broker": {"reachable": self._contact.trouble is None, "trouble": self._contact.trouble or ""},
            "partitions": {
                str(place.partition): {
                    "read_to": place.offset, "end": place.end, "lag": place.lag, "blocked": place.blocked,
                    "streams": len(place.streams),
                }
                for place in sorted(self._places.values(), key=lambda place: place.partition)
            },
            "lag": sum(place.lag or 0 for place in self._places.values()),
            "ready": tally.ready, "parked": tally.parked, "parked_bytes": tally.parked_bytes,
            "repeats": tally.repeats, "passed_over": tally.passed_over, "unreadable": self._unreadable.kept,
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
                self._contact.lost(error)
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
        self._answered(asked_at)

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
        if place is None or place.offset is None or not self._is_assigned(place):
            return
        if place.verifies:
            messages = self._verified(place, messages)
        elif not self._contact.is_sure and place.verify():
            return
        chunk = read_messages(partition, place.offset or 0, messages)
        life = place.life
        unknown = self._intake.unknown(chunk.said, place)
        stored = await self._ask_positions(unknown) if unknown else {}
        await self._unreadable.keep(chunk)
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

    def _answered(self, asked_at: float) -> None:
        if self._contact.answered(asked_at):
            for place in self._places.values():
                place.verify()

    def _is_assigned(self, place: Place) -> bool:
        return self._assigned.get(place.partition) == place.life

    def _begin_again(self, place: Place | None, reason: str) -> None:
        if place is not None and place.offset is not None:
            log.warning("log_replaced", partition=place.partition, read_to=place.offset, reason=reason)
            place.begin_again()
            self._reporter.forget(place.partition)

    def _forget_place(self, place: Place) -> None:
        if self._places.get(place.partition) is place:  # else another task was quicker
            del self._places[place.partition]
            self._intake.drop(place)
            self._reporter.forget(place.partition)

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
                self._contact.lost(error)
                await self._mend()
                continue
            self._answered(began)
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
            self._contact.lost(error)

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
                await self._reporter.report(now, commit=now >= commit_at)
            except UNREACHABLE as error:
                self._contact.lost(error)
                await self._mend()
                await asyncio.sleep(_PAUSE_SECONDS)
            if now >= commit_at:
                commit_at = now + COMMIT_SECONDS
            if now >= self._forget_at:
                self._forget_at = now + _FORGET_EVERY_SECONDS
                self._intake.forget_old(now)
