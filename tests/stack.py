"""The whole product under test: `milepost up` as its users start it, on free ports and a data directory of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

REPOSITORY = Path(__file__).resolve().parent.parent
OWNER = "owner@example.org"
PASSWORD = "correct horse battery staple"
START_SECONDS = 90.0
PARTS = ("edge-0", "ingest", "fold", "api", "jobs", "postgres", "valkey")


@dataclass
class Stack:
    """A running installation; `environ` adds settings, without their prefix."""

    data_dir: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    source: Path = REPOSITORY
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.edge_port, self.api_port, self.admin_port = free_ports(3)
        self.edge_url = f"http://127.0.0.1:{self.edge_port}"
        self.api_url = f"http://127.0.0.1:{self.api_port}"

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        settings = {
            "DATA_DIR": str(self.data_dir),
            "EDGE_PORT": str(self.edge_port),
            "API_PORT": str(self.api_port),
            "EDGE_ADMIN_PORT": str(self.admin_port),
            "OWNER_EMAIL": OWNER,
            "OWNER_PASSWORD": PASSWORD,
            **self.environ,
        }
        named = {f"MILEPOST_{name}": value for name, value in settings.items()}
        return {**inherited, "PYTHONPATH": str(self.source), **named}

    def start(self) -> None:
        """Start it and wait until edge and API answer; its output is kept in up.log beside the data."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "up.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "management.cli", "up"],
                cwd=self.source,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (answers(self.admin_port, "/readyz") and answers(self.api_port, "/readyz")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"milepost did not start:\n{self.output()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """Stop it in order, as Ctrl-C does; returns the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def output(self) -> str:
        return (self.data_dir / "up.log").read_text(errors="replace")

    def pid(self, part: str) -> int:
        return int((self.data_dir / "run" / f"{part}.pid").read_text())

    def running_pid(self, part: str) -> int | None:
        """None between two lives of a part."""
        try:
            return self.pid(part)
        except FileNotFoundError:
            return None

    def kill(self, part: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one part; returns the pid that got it."""
        pid = self.pid(part)
        os.kill(pid, number)
        return pid

    async def wait_restarted(self, part: str, old_pid: int, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while self.running_pid(part) in (None, old_pid):
            assert time.monotonic() < deadline, f"{part} did not come back:\n{self.output()[-3000:]}"
            await asyncio.sleep(0.02)

    def owner_url(self) -> str:
        """The embedded Postgres as its owner: the judge reads the tables themselves."""
        url: str = orjson.loads((self.data_dir / "run" / "endpoints.json").read_bytes())["database_url"]
        return url

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(self.owner_url())
        try:
            yield connection
        finally:
            await connection.close()


@contextmanager
def running(data_dir: Path, source: Path = REPOSITORY, **environ: str) -> Iterator[Stack]:
    """A started stack, stopped in order at the end."""
    stack = Stack(data_dir, environ, source)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


class Api:
    """A client of one stack's API; answers are (status, body)."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        self.stack = stack
        self.session = session
        self.token = ""

    async def login(self, email: str = OWNER, password: str = PASSWORD) -> None:
        status, body = await self.call("POST", "/api/v1/auth/token", {"email": email, "password": password})
        assert status == 200, body
        self.token = body["token"]

    async def call(self, method: str, path: str, body: object = None, **query: object) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        payload = None if body is None else orjson.dumps(body)
        if payload is not None:
            headers["Content-Type"] = "application/json"
        params = {name: str(value) for name, value in query.items()}
        async with self.session.request(
            method, self.stack.api_url + path, data=payload, headers=headers, params=params
        ) as answer:
            return answer.status, orjson.loads(await answer.read())

    async def campaign(self, **fields: object) -> dict[str, Any]:
        status, body = await self.call("POST", "/api/v1/campaigns", {"name": "C", **fields})
        assert status == 201, body
        assert body["data"]["propagated"] is True, "the edge did not report the new campaign"
        campaign: dict[str, Any] = body["data"]
        return campaign

    async def stats(self, campaign_id: int | None = None, **query: object) -> dict[str, Any]:
        path = "/api/v1/stats" if campaign_id is None else f"/api/v1/campaigns/{campaign_id}/stats"
        status, body = await self.call("GET", path, **query)
        assert status == 200, body
        stats: dict[str, Any] = body["data"]
        return stats

    async def wait_clicks(self, clicks: int, seconds: float = 30.0) -> dict[str, Any]:
        """The account's stats once they count `clicks`; fails with what they said last."""
        deadline = time.monotonic() + seconds
        while True:
            stats = await self.stats()
            if stats["clicks"] >= clicks or time.monotonic() > deadline:
                assert stats["clicks"] == clicks, stats
                return stats
            await asyncio.sleep(0.05)


@asynccontextmanager
async def api(stack: Stack) -> AsyncIterator[Api]:
    """A client logged in as the owner."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
        client = Api(stack, session)
        await client.login()
        yield client


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, outside the range the kernel hands out to clients meanwhile."""
    found: list[int] = []
    while len(found) < count:
        port = 20_000 + int.from_bytes(os.urandom(2), "big") % 10_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def answers(port: int, path: str) -> bool:
    """Whether an HTTP server on loopback answers 200 to a GET."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def money(value: object) -> Decimal:
    return Decimal(str(value))
