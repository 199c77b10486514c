"""Real `milepost ingest` processes for tests, and a wire to Postgres that can be cut."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson

from shared.ids import KeyRing

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class IngestProcess:
    """One process; its log lines are in `log_file`."""

    popen: subprocess.Popen[bytes]
    log_file: Path

    @classmethod
    def start(cls, data_dir: Path, database_url: str, ring: KeyRing, **more: str) -> "IngestProcess":
        """`more`: further environment variables."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        environ = inherited | {
            "PYTHONPATH": str(REPOSITORY),
            "MILEPOST_DATA_DIR": str(data_dir),
            "MILEPOST_DATABASE_URL": database_url,
            "MILEPOST_SECRET_KEYS": ring.to_text(),
            "MILEPOST_JOURNAL_KEEP": "0s",
            **more,
        }
        data_dir.mkdir(parents=True, exist_ok=True)
        log_file = data_dir / f"ingest-{len(list(data_dir.glob('ingest-*.log')))}.log"
        with log_file.open("wb") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", "management.cli", "ingest"],
                env=environ, cwd=data_dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return cls(popen, log_file)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far; a line that is no JSON is a traceback and fails the test."""
        complete = self.log_file.read_bytes().rpartition(b"\n")[0]
        return [orjson.loads(line) for line in complete.splitlines() if line]

    def said(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines())

    async def until(self, event: str, seconds: float = 20.0) -> None:
        """Until it logged `event`."""
        async with asyncio.timeout(seconds):
            while not self.said(event):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, seconds: float = 20.0) -> int:
        """Its exit status, negative for a signal."""
        return await asyncio.to_thread(self.popen.wait, seconds)

    def clean_up(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


class Start(Protocol):
    """Starts a process in the data directory, or in its folder `name`."""

    def __call__(self, name: str = "", *, url: str = ...) -> IngestProcess: ...


@contextmanager
def ingests(data_dir: Path, database_url: str, ring: KeyRing, **more: str) -> Iterator[Start]:
    """Starts what ends with the block; arguments as of `IngestProcess.start`."""
    started: list[IngestProcess] = []

    def start(name: str = "", *, url: str = database_url) -> IngestProcess:
        started.append(IngestProcess.start(data_dir / name, url, ring, **more))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            process.clean_up()


async def until_count(owner: asyncpg.Connection, table: str, wanted: int, seconds: float = 60.0) -> None:
    """Until the table holds at least so many rows."""
    async with asyncio.timeout(seconds):
        while await owner.fetchval(f"SELECT count(*) FROM {table}") < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Wire:
    """A TCP proxy before Postgres that can be cut, and can be made to cut itself after some bytes towards it."""

    def __init__(self) -> None:
        self.url = ""
        self.cut_after: int | None = None
        """Bytes from the client after which a connection breaks; None: never."""
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Wire"]:
        wire = cls()
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        host, port = parts.hostname, parts.port

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await wire._join(reader, writer, host, port)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        own_port = server.sockets[0].getsockname()[1]
        wire.url = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{own_port}"))
        try:
            yield wire
        finally:
            server.close()
            wire.cut()
            await asyncio.sleep(0.05)

    def cut(self) -> None:
        """Break every connection there is."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection(host, port)
        ends = {writer, up_writer}
        self._open |= ends
        await asyncio.gather(self._pump(reader, up_writer, self.cut_after), self._pump(up_reader, writer, None))
        self._open -= ends
        for end in ends:
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: int | None) -> None:
        with suppress(ConnectionError):  # a cut wire is what this is for
            while piece := await reader.read(65536):
                if room is not None:
                    room -= len(piece)
                    if room < 0:
                        break
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()
