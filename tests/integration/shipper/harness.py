"""Real `python -m edge.shipper` processes, a journal to ship, and the words that ingest would say."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from shared.data_dir import DataDir
from shared.journal import JournalWriter
from shared.topics import CONSUMED_TOPIC, EVENTS_TOPIC, Consumed, Gap, Record, Standing, decode, encode_consumed
from tests.kafka.topics import everything
from tests.unit.journal.stream_builder import no_failure

REPOSITORY = Path(__file__).resolve().parents[3]
KIND = 1
SECONDS = 60.0


@dataclass
class ShipperProcess:
    """One process on `data_dir`; its log lines are in `log_file`."""

    data_dir: DataDir
    popen: subprocess.Popen[bytes]
    log_file: Path

    @classmethod
    def start(cls, data_dir: DataDir, bootstrap: str, **changes: str) -> "ShipperProcess":
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        environ = inherited | {
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "error",
            "MILEPOST_DATA_DIR": str(data_dir.root),
            "MILEPOST_KAFKA_BOOTSTRAP": bootstrap,
            **{f"MILEPOST_{name}": value for name, value in changes.items()},
        }
        data_dir.root.mkdir(parents=True, exist_ok=True)
        log_file = data_dir.root / f"ship-{len(list(data_dir.root.glob('ship-*.log')))}.log"
        with log_file.open("wb") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "edge.shipper"],
                env=environ, cwd=data_dir.root, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return cls(data_dir, popen, log_file)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far; a line that is no JSON is a traceback and fails the test."""
        complete = self.log_file.read_bytes().rpartition(b"\n")[0]
        return [orjson.loads(line) for line in complete.splitlines() if line]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    def status(self) -> dict[str, Any]:
        """{} while there is none."""
        try:
            status: dict[str, Any] = orjson.loads(self.data_dir.ship_status.read_bytes())
        except FileNotFoundError:
            return {}
        return status if status["pid"] == self.popen.pid else {}

    async def until(self, true: Callable[[], bool], what: str, seconds: float = SECONDS) -> float:
        """Seconds until it was so."""
        began = time.monotonic()
        while not true():
            assert self.popen.poll() is None, self.log_file.read_text()
            assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}; {self.status()}\n" + str(
                self.lines()
            )
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def until_said(self, event: str, seconds: float = SECONDS) -> None:
        """Until it logged `event`."""
        await self.until(lambda: bool(self.said(event)), event, seconds)

    def went_back(self, reason: str) -> int:
        """How often a stream did, for that reason."""
        return sum(line["reason"] == reason for line in self.said("went_back"))

    async def until_went_back(self, reason: str, seconds: float = SECONDS) -> None:
        """Until one stream did."""
        await self.until(lambda: self.went_back(reason) == 1, f"it goes back: {reason}", seconds)

    async def until_status(self, name: str, value: int, seconds: float = SECONDS) -> None:
        """Until its status has this figure."""
        await self.until(lambda: self.status().get(name) == value, f"{name} is {value}", seconds)

    async def until_shipped(self, records: int, seconds: float = SECONDS) -> None:
        """So many records are acknowledged in this life, none of them journaled and not."""
        await self.until(
            lambda: self.status().get("shipped", 0) >= records and self.status()["unsent_records"] == 0,
            f"{records} shipped",
            seconds,
        )

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, seconds: float = 20.0) -> int:
        """Its exit status, negative for a signal."""
        return await asyncio.to_thread(self.popen.wait, seconds)

    async def stopped(self) -> None:
        """It was asked to stop, and ended in order."""
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0

    def clean_up(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


@dataclass
class Streams:
    """The journal of `data_dir`: living workers, and what each wrote."""

    data_dir: DataDir
    writers: dict[bytes, JournalWriter] = field(default_factory=dict)
    written: dict[bytes, int] = field(default_factory=dict)

    def begin(self, segment_bytes: int = 1 << 20) -> bytes:
        writer = JournalWriter.open(self.data_dir.journal, "os", segment_bytes=segment_bytes, on_failure=no_failure)
        self.writers[writer.stream] = writer
        self.written[writer.stream] = 0
        return writer.stream

    async def append(self, stream: bytes, records: int, size: int = 600) -> None:
        for _ in range(records):
            self.written[stream] += 1
            await self.writers[stream].append(KIND, payload(stream, self.written[stream], size))

    async def holding(self, records: int, **begun: int) -> bytes:
        """A new one with so many records; `begun` as of `begin`."""
        stream = self.begin(**begun)
        await self.append(stream, records)
        return stream

    async def end(self, stream: bytes) -> None:
        await self.writers.pop(stream).close()

    async def close(self) -> None:
        for stream in list(self.writers):
            await self.end(stream)

    def path(self, stream: bytes) -> Path:
        return self.data_dir.journal / stream.hex()


def payload(stream: bytes, seq: int, size: int) -> bytes:
    head = b'{"of":"%s","seq":%d,"fill":"' % (stream.hex().encode(), seq)
    return head + b"x" * max(size - len(head) - 2, 0) + b'"}'


@dataclass
class Log:
    """What the events topic holds: by stream, in order, with the partitions it lies in."""

    records: dict[bytes, list[Record]] = field(default_factory=dict)
    gaps: dict[bytes, list[Gap]] = field(default_factory=dict)
    standings: dict[bytes, list[Standing]] = field(default_factory=dict)
    partitions: dict[bytes, set[int]] = field(default_factory=dict)
    offsets: dict[tuple[bytes, int], int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    @classmethod
    async def read(cls, bootstrap: str) -> "Log":
        log = cls()
        for message in await everything(bootstrap, EVENTS_TOPIC):
            found = decode(message.value)
            log.partitions.setdefault(message.key, set()).add(message.partition)
            log.ends[message.partition] = message.offset + 1
            if isinstance(found, Record):
                log.records.setdefault(message.key, []).append(found)
                log.offsets[message.key, found.seq] = message.offset
            elif isinstance(found, Gap):
                log.gaps.setdefault(message.key, []).append(found)
            elif isinstance(found, Standing):
                log.standings.setdefault(message.key, []).append(found)
        return log

    def seqs(self, stream: bytes) -> list[int]:
        return [record.seq for record in self.records.get(stream, [])]

    def partition(self, stream: bytes) -> int:
        (only,) = self.partitions[stream]
        return only

    def stored(self, stream: bytes, seq: int) -> Consumed:
        """What ingest says when it has stored the stream up to `seq`, and read no further."""
        return Consumed(seq + 1, self.partition(stream), self.offsets[stream, seq] + 1)


async def say(bootstrap: str, said: Mapping[bytes, Consumed]) -> None:
    """Publish what ingest would."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for stream, consumed in said.items():
            await producer.send_and_wait(CONSUMED_TOPIC, key=stream, value=encode_consumed(consumed), partition=0)
    finally:
        await producer.stop()
