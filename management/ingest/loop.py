"""The process `milepost ingest`: while Postgres stores one batch, the next one is read and decoded.

From the journals of this machine: two ingests never work at once (the lease), and never take turns at ending each
other: one that starts stands by while the other shows life, and one that lost the lease ends with status 3, so that a
supervisor's restart makes it the one that stands by. It works again when the other is gone, or silent for
management.db.lease.SILENT_SECONDS.

From Kafka (MILEPOST_KAFKA_BOOTSTRAP) several work at once and share the partitions (`sources.partitions`). One that
loses a partition goes on, on a new connection, with what it can take then.
"""

import asyncio
import logging
import secrets
import signal
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog

from management.db.keyring import load_key_ring
from management.db.lease import SIGN_OF_LIFE_SECONDS, Lease, LeaseLost, holder_is_alive
from management.db.pool import INGEST_ROLE, SoleConnection, connect, role_url
from management.ingest import deadletter
from management.ingest.batch import Batch, SourceBroken, slices
from management.ingest.deadletter import DeadLetterFailed
from management.ingest.sources import Round, Source
from management.ingest.sources.journal import JournalSource
from management.ingest.sources.kafka import KafkaSource
from management.ingest.sources.partitions import PartitionLeases, SharedPartitions
from management.ingest.sources.status import keep_status
from management.ingest.writer import INTERRUPTIONS, PositionMoved, Writer
from shared.data_dir import DataDir
from shared.env import Settings
from shared.garbage import collect_rarely
from shared.journal import Claimed, JournalLimits, claimed

LEASE: Final = "ingest"
POLL_SECONDS: Final = 0.025
"""Between two reads that found all there was: with a commit on top, a click is in Postgres within 100 ms."""
DRAIN_SECONDS: Final = 10.0
"""From SIGTERM to the end, however much the journals hold: what is left is read by the next life."""
DONE, STOPPED_LINE, LEASE_TAKEN = 0, 1, 3
_STAND_BY_SECONDS: Final = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_DECODED_AT_ONCE: Final = 200  # records, some 3 ms: what Postgres takes next is not kept waiting for longer

log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Ingest until SIGTERM or SIGINT. Exit status: 0 asked to stop, 1 the line stopped, 3 another ingest took over."""
    assert settings.database_url is not None
    collect_rarely()
    # In an outage the client writes 40 lines a second; what matters of it the source says.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    url = role_url(settings.database_url, INGEST_ROLE, load_key_ring(settings, create=False))
    ingest = Ingest(url, settings)
    work = asyncio.create_task(ingest.work())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ingest.stop.set)
    stopping = asyncio.create_task(ingest.stop.wait())
    await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.wait((work,), timeout=DRAIN_SECONDS)
    if not work.done():
        log.warning("drain_cut_short", seconds=DRAIN_SECONDS)
        work.cancel()
        await asyncio.wait((work,))
        return DONE
    return work.result()


class Ingest:
    """One life of the process: connections come and go, the lease and the log's memory stay."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.stop = asyncio.Event()
        self._url = url
        self._data_dir = DataDir.at(settings.data_dir)
        self._keep_seconds = settings.journal_keep
        self._limits = JournalLimits(settings.journal_max, settings.disk_reserve)
        self._kafka = settings.kafka_bootstrap
        self._member = secrets.token_bytes(16)
        self._lease: Lease | None = None
        self._repeats = 0
        self._trouble = ""
        self._pause = _FIRST_PAUSE

    async def work(self) -> int:
        """Until `stop` is set and the journals are drained. Gives the exit status."""
        while True:
            try:
                await self._connect_and_ingest()
                return DONE
            except LeaseLost as error:
                if self._kafka is not None:
                    self._report(str(error))
                else:
                    log.error("another_ingest_took_over", error=str(error))
                    return LEASE_TAKEN
            except (DeadLetterFailed, SourceBroken) as error:
                log.critical("line_stopped", error=str(error))
                return STOPPED_LINE
            except (PositionMoved, Claimed, *INTERRUPTIONS) as error:
                self._report(str(error) or type(error).__name__)
            if await _is_set(self.stop, self._pause):
                log.warning("stopped_without_postgres")
                return DONE
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _connect_and_ingest(self) -> None:
        connection = await connect(self._url, application="milepost ingest")
        try:
            if self._kafka is not None:
                await self._ingest_kafka(connection, self._kafka)
            else:
                await self._ingest_journals(connection)
        finally:
            connection.terminate()

    async def _ingest_journals(self, connection: SoleConnection) -> None:
        self._lease = await self._turn(connection)
        if self._lease is None:
            return
        writer = await Writer.open(connection, self._lease)
        log.info("ingest_works", epoch=self._lease.epoch)
        source = JournalSource(
            self._data_dir.journal,
            self._keep_seconds,
            writer.positions,
            limits=self._limits,
            store_losses=writer.store_losses,
            store_announced=writer.store_announced,
        )
        try:
            with claimed(self._data_dir.journal, shared=True):  # never beside a shipper
                await self._ingest(source, writer)
        finally:
            await source.close()

    async def _ingest_kafka(self, connection: SoleConnection, bootstrap: str) -> None:
        leases = PartitionLeases(self._member)
        writer = await Writer.open(connection, leases)
        await leases.join(connection)
        share = SharedPartitions(leases, writer.turn)
        source = KafkaSource(bootstrap, share, writer.positions, writer, partial(deadletter.keep_unreadable, writer))
        log.info("ingest_works", member=self._member.hex())

        def status() -> dict[str, Any]:
            now = source.status
            return {**now, "repeats": now["repeats"] + self._repeats}

        telling = asyncio.create_task(keep_status(self._data_dir.ingest_status, status))
        try:
            await self._ingest(source, writer)
        finally:
            await source.close()
            self._repeats += source.status["repeats"]
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        await share.leave()

    async def _turn(self, connection: SoleConnection) -> Lease | None:
        """The lease, once it is this process's turn; None when it was asked to stop before."""
        if self._lease is not None:
            return await self._lease.resume(connection)
        said = False
        while await holder_is_alive(connection, LEASE):
            if not said:
                log.info("standing_by", reason="another ingest is at work")
                said = True
            if await _is_set(self.stop, _STAND_BY_SECONDS):
                return None
        return await Lease.take(connection, LEASE)

    async def _ingest(self, source: Source, writer: Writer) -> None:
        loop = asyncio.get_running_loop()
        storing: asyncio.Task[None] | None = None
        spoke_at = loop.time()
        try:
            while True:
                last_round = self.stop.is_set()
                found = await source.read()
                batch = await _decode(found)
                if storing is not None:
                    await storing
                    storing = None
                if not batch.is_empty:
                    storing = asyncio.create_task(self._store(source, writer, batch))
                    spoke_at = loop.time()
                elif loop.time() - spoke_at >= SIGN_OF_LIFE_SECONDS:
                    await writer.beat()
                    self._recovered()
                    spoke_at = loop.time()
                if found.more:
                    continue
                if last_round:
                    break
                await _is_set(self.stop, POLL_SECONDS)
            if storing is not None:
                await storing
                storing = None
        finally:
            if storing is not None:
                storing.cancel()
                await asyncio.gather(storing, return_exceptions=True)  # what broke the line is on its way already

    async def _store(self, source: Source, writer: Writer, batch: Batch) -> None:
        stored = await deadletter.store(writer, batch)
        await source.committed(batch.positions)
        if stored.buried:
            log.error("dead_letters", records=stored.buried)
        for stream, gap in batch.lost:
            log.error("records_lost", stream=stream.hex(), first=gap.first, last=gap.last, reason=gap.reason)
        self._recovered()

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("ingest_interrupted", error=trouble)

    def _recovered(self) -> None:
        self._pause = _FIRST_PAUSE
        if self._trouble:
            self._trouble = ""
            log.info("ingest_goes_on")


async def _decode(found: Round) -> Batch:
    batch = Batch()
    for read in found.reads:
        for piece in slices(read, _DECODED_AT_ONCE):
            batch.add(piece)
            await asyncio.sleep(0)
    return batch


async def _is_set(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` is set, waiting up to `seconds` for it."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
