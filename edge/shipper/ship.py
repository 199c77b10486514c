"""The process `milepost ship`: tasks around a Shipment, each with one thing to do and a deadline for it."""

import asyncio
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import orjson
import structlog

from edge.shipper.asking import UNREACHABLE
from edge.shipper.evidence import EvidenceReader, TopicKeeper, Topics
from edge.shipper.journal import SWEEP_SECONDS, Journal
from edge.shipper.producer import EventsProducer, NotSent
from edge.shipper.progress import TOPIC_GONE
from edge.shipper.shipment import Shipment
from shared.data_dir import DataDir, replace
from shared.env import Settings
from shared.journal import JournalLimits
from shared.topics import EVENTS_TOPIC

POLL_SECONDS: Final = 0.025
"""Between two looks at a journal that had nothing new."""
WATCH_SECONDS: Final = 1.0
"""Between two questions for the logs' ends: evidence of a lost log is never older."""
WRITE_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 5.0
"""From SIGTERM to the end of what is still sent."""
_CLOSE_SECONDS: Final = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

log = structlog.get_logger()


class Shipper:
    """Ships until `stop` is set; made anew for each life of the process."""

    def __init__(self, settings: Settings) -> None:
        assert settings.kafka_bootstrap is not None
        self.stop = asyncio.Event()
        data_dir = DataDir.at(settings.data_dir)
        limits = JournalLimits(settings.journal_max, settings.disk_reserve)
        self._status_file = data_dir.ship_status
        self._bootstrap = settings.kafka_bootstrap
        self._journal = Journal(data_dir.journal, settings.journal_keep, limits)
        self._shipment = Shipment(self._journal)
        self._producer = EventsProducer(self._bootstrap)
        self._keeper = TopicKeeper(self._bootstrap)
        self._topics_known = asyncio.Event()
        self._senders: dict[int, asyncio.Task[None]] = {}
        self._away: str | None = ""  # what is wrong with Kafka; "" before anything is known
        self._trouble = ""  # with files

    async def run(self) -> None:
        """Until `stop`; then what is journaled is still sent, for DRAIN_SECONDS and if Kafka is there."""
        work = (self._follow(), self._stay_connected(), self._notice_streams(), self._keep_notes(), self._tidy())
        tasks = [asyncio.create_task(one) for one in work]
        stopping = asyncio.create_task(self.stop.wait())
        try:
            ended, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if self._senders and self.stop.is_set():
                await asyncio.wait(self._senders.values(), timeout=DRAIN_SECONDS)
        finally:
            await _cancelled(stopping, *tasks, *self._senders.values())
            self._write_notes()
            self._shipment.close()
            await asyncio.gather(self._producer.close(_CLOSE_SECONDS), self._keeper.close())
        for task in ended - {stopping}:
            task.result()  # none ends by itself: raises what is a defect of ours
        status = self._shipment.status()
        log.info(
            "shipper_ends", shipped=status["shipped"], unsent_records=status["unsent_records"], kafka=self._contact
        )

    # Tasks

    async def _follow(self) -> None:
        """Topics made, ingest's words read, logs' ends asked for; after any failure all of it is begun anew."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                found = await self._keeper.look(self._without_topics)
                self._take_topics(found)
                await self._read_evidence(EvidenceReader(self._bootstrap, found.consumed))
            except UNREACHABLE as error:
                self._lost_contact(error)
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _without_topics(self) -> None:
        # Else what is acknowledged by a topic that was just made would be taken for gone with the former one.
        self._topics_known.clear()
        self._producer.drop()

    def _take_topics(self, found: Topics) -> None:
        self._shipment.take_partitions(found.events)
        self._notice()  # what was said of a stream is only heard of one that is known
        self._topics_known.set()
        if EVENTS_TOPIC in found.made:
            self._shipment.lost(TOPIC_GONE)
            self._producer.drop()

    async def _read_evidence(self, reader: EvidenceReader) -> None:
        """Raises one of UNREACHABLE."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await reader.start()
            tasks = [asyncio.create_task(self._listen(reader)), asyncio.create_task(self._watch(reader))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(*tasks)
            await reader.close()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _listen(self, reader: EvidenceReader) -> None:
        while True:
            for stream, said in (await reader.read()).items():
                self._shipment.said(stream, said, time.monotonic())

    async def _watch(self, reader: EvidenceReader) -> None:
        while True:
            questions = self._shipment.questions()
            ends = await reader.log_ends(questions or [0])
            if self._shipment.log_ends({number: ends[number] for number in questions}, questions, time.monotonic()):
                self._producer.drop()
            if self._shipment.needs_group:
                self._shipment.group_offsets(await self._keeper.group_offsets())
            self._has_contact()
            await asyncio.sleep(WATCH_SECONDS)

    async def _stay_connected(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await self._topics_known.wait()
            if self._producer.connected:
                pause = _FIRST_PAUSE
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                await self._producer.connect()
            except UNREACHABLE as error:
                self._lost_contact(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _notice_streams(self) -> None:
        while True:
            self._notice()
            if not self.stop.is_set():
                self._start_senders()
            await asyncio.sleep(POLL_SECONDS)

    def _notice(self) -> None:
        try:
            self._shipment.notice()
        except OSError as error:
            self._report(error)

    def _start_senders(self) -> None:
        for partition, sender in list(self._senders.items()):
            if sender.done():
                sender.result()  # raises what is a defect of ours
                del self._senders[partition]
        for partition in self._shipment.occupied:
            if partition not in self._senders:
                self._senders[partition] = asyncio.create_task(self._send(partition))

    async def _send(self, partition: int) -> None:
        """The only one that sends to the partition: one batch at a time, so that order is kept."""
        while partition in self._shipment.occupied:
            packed = None
            if self._producer.connected:
                packed = self._shipment.pack(partition, self._producer.batch(), time.monotonic())
            if packed is None:
                if self.stop.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), POLL_SECONDS)
                continue
            try:
                base_offset = await self._producer.send(packed.batch, partition)
            except NotSent as error:
                self._lost_contact(error)
                continue
            if self._shipment.acked(partition, base_offset, packed):
                self._producer.drop()

    async def _keep_notes(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self._write_notes()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._shipment.forget(await self._journal.tidy(self._shipment.consumed()))

    # What is told

    def _write_notes(self) -> None:
        try:
            self._shipment.remember()
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            status = {"v": 1, "pid": os.getpid(), "at": now, "kafka": self._contact, **self._shipment.status()}
            replace(self._status_file, orjson.dumps(status) + b"\n")
        except OSError as error:
            self._report(error)
        else:
            self._trouble = ""

    @property
    def _contact(self) -> str:
        return "reached" if self._away is None else self._away or "not reached yet"

    def _has_contact(self) -> None:
        if self._away is not None and self._producer.connected:
            self._away = None
            log.info("kafka_reached")

    def _lost_contact(self, error: BaseException) -> None:
        if not self._away:
            self._away = str(error) or "no answer in time"
            log.warning("kafka_away", error=self._away)

    def _report(self, error: OSError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.error("files_not_written", error=self._trouble)


async def _cancelled(*tasks: "asyncio.Task[None] | asyncio.Task[bool]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
