"""The system under test: every part a process of its own, started by the command line that operators type, and started
again by the machinery of `milepost up` when it dies. Postgres lies on a small file system of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import psutil

from management.db.keyring import load_key_ring
from management.embedded.fleet import Fleet
from management.embedded.keeper import Kept
from management.embedded.logs import last_lines, log_file
from management.embedded.parts import Part, PartProcess
from management.embedded.postgres import EmbeddedPostgres
from management.embedded.process import Launch, run_once
from management.embedded.valkey import EmbeddedValkey
from shared.data_dir import DataDir
from shared.env import load
from shared.ids import KeyRing
from tests import builders
from tests.faults.chain.broker import ProxiedBroker
from tests.faults.chain.disk import Disk
from tests.faults.chain.held import Held
from tests.faults.chain.judge import destination
from tests.faults.chain.oracle import CAMPAIGNS
from tests.faults.chain.parts import INGESTS, STAGES, WORKERS, Mode, commands, environment
from tests.stack import answers, free_ports

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

START_SECONDS: Final = 120.0
_DATABASE_SECONDS: Final = 5.0
# Postgres' own default of 2 GB would be most of the small disk.
_SMALL_WAL: Final = ("ALTER SYSTEM SET max_wal_size = '128MB'", "ALTER SYSTEM SET min_wal_size = '32MB'")


class System:
    """One installation below `folder`; `disk` holds its Postgres, `broker` is there in the mode `kafka`."""

    def __init__(self, folder: Path, disk: Disk, broker: ProxiedBroker | None, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.disk = disk
        self.broker = broker
        self.mode: Mode = "journal" if broker is None else "kafka"
        self.data_dir = DataDir.at(folder / "data")
        self.postgres_dir = DataDir.at(disk.path / "server")
        self.edge_port, self.admin_port, self.api_port = free_ports(3)
        self.kills = 0
        self.account = 0
        self.campaigns: list[int] = []
        self.uuids: list[str] = []
        self._settings = settings
        self._said = folder / "supervisor.log"
        self._fleet = Fleet(self.data_dir, self._say)
        self._postgres = EmbeddedPostgres(self.postgres_dir)
        self._valkey = EmbeddedValkey(self.data_dir)
        self._held: dict[str, Held] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all processes that are kept going; `edge` is the supervisor of edge-0, edge-1 …"""
        return tuple(self._held)

    async def start(self) -> None:
        """Everything runs, the campaigns are made, and the edge knows them."""
        self.data_dir.root.mkdir(parents=True)
        await self._keep(self._postgres)
        await self._keep(self._valkey)
        ring = load_key_ring(load(self._environment()), create=True)
        migrate = Launch("migrate", (sys.executable, "-m", "management.cli", "migrate"), self._environment())
        status, _ = await run_once(migrate, self.data_dir, START_SECONDS)
        assert status == 0, "\n".join(last_lines(log_file(self.data_dir, "migrate"), 20))
        await self._make_campaigns()
        for name, command in commands(self.mode):
            environ = self._environment()
            if self.broker is not None:
                environ |= {"MILEPOST_KAFKA_BOOTSTRAP": self.broker.bootstrap_of(name)}
                environ |= {"MILEPOST_SECRET_KEYS": ring.to_text(), "MILEPOST_DATA_DIR": str(self.home(name))}
            part = Part(name, (sys.executable, "-m", *command), STAGES[name], stop_seconds=30.0)
            await self._keep(PartProcess(part, self.data_dir, environ))
        async with asyncio.timeout(START_SECONDS):
            while not await asyncio.to_thread(answers, self.admin_port, "/readyz"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        self.key_ring: KeyRing = ring

    async def stop(self) -> None:
        """In order; what was held is released first."""
        await self._fleet.stop(asyncio.Event())

    async def _keep(self, kept: Kept) -> None:
        self._held[kept.name] = held = Held(kept)
        await self._fleet.start(held, STAGES[kept.name])

    def home(self, part: str) -> Path:
        """The part's MILEPOST_DATA_DIR: ingest behind a broker needs nothing of the edge's machine."""
        own = self.broker is not None and part in INGESTS
        return self.folder / part if own else self.data_dir.root

    def _environment(self) -> dict[str, str]:
        """Of a part on the edge's machine."""
        return environment(
            {
                "DATA_DIR": str(self.data_dir.root),
                "DATABASE_URL": self._postgres.url,
                "REDIS_URL": self._valkey.url,
                "EDGE_PORT": str(self.edge_port),
                "EDGE_ADMIN_PORT": str(self.admin_port),
                "API_PORT": str(self.api_port),
                "EDGE_WORKERS": str(len(WORKERS)),
                "POSTBACK_RATE": "0",
                **self._settings,
            }
        )

    async def _make_campaigns(self) -> None:
        async with self.database() as connection:
            for statement in _SMALL_WAL:
                await connection.execute(statement)
            await connection.execute("SELECT pg_reload_conf()")
            self.account = await builders.store_account(connection)
            for _ in range(CAMPAIGNS):
                number = await builders.store_campaign(
                    connection, self.account, destination_url=destination("{clickid}"), cost_model="cpc", cost_value=0.5
                )
                self.campaigns.append(number)
            rows = await connection.fetch("SELECT uuid FROM campaigns ORDER BY id")
            self.uuids = [row["uuid"] for row in rows]

    def pid(self, part: str) -> int | None:
        """None while it is down. `broker`, `edge-0` and the like are parts too."""
        if part == "broker":
            return self.broker.pid if self.broker is not None else None
        home = self.postgres_dir if part == "postgres" else self.data_dir
        try:
            pid = int(home.pid_file(part).read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        return pid

    def family(self, part: str) -> list[int]:
        """The part's process and all below it: a frozen Postgres is frozen in every backend."""
        pid = self.pid(part)
        assert pid is not None, f"{part} does not run"
        below = psutil.Process(pid).children(recursive=True) if part == "postgres" else []
        return [pid, *(child.pid for child in below)]

    def kill(self, part: str) -> int:
        """SIGKILL; the pid that got it."""
        pid = self.pid(part)
        assert pid is not None, f"{part} does not run"
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        return pid

    async def hold_down(self, *parts: str) -> None:
        """Kill the parts, which stay down until `release`."""
        for part in parts:
            self._held[part].hold()
            pid = self.kill(part)
            await self.until_gone(pid)

    def release(self, *parts: str) -> None:
        for part in parts:
            self._held[part].release()

    async def until_gone(self, pid: int) -> None:
        async with asyncio.timeout(START_SECONDS):
            while psutil.pid_exists(pid):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def owner_url(self) -> str:
        return self._postgres.url

    @asynccontextmanager
    async def database(self, seconds: float = _DATABASE_SECONDS) -> "AsyncIterator[Connection]":
        """A connection as the owner, under a deadline for each call."""
        connection = await asyncpg.connect(self._postgres.url, timeout=_DATABASE_SECONDS, command_timeout=seconds)
        try:
            yield connection
        finally:
            connection.terminate()

    def down(self) -> Sequence[str]:
        """Parts that do not run just now."""
        broker = ("broker",) if self.broker is not None else ()
        return [part for part in (*self.parts, *WORKERS, *broker) if self.pid(part) is None]

    def output(self) -> str:
        """The end of what the parts logged, for a failure's report."""
        names = [name for name in self.parts if name != "postgres"]
        logs = [(name, last_lines(log_file(self.data_dir, name), 15)) for name in names]
        logs += [("postgres", last_lines(log_file(self.postgres_dir, "postgres"), 15))]
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in logs)

    def _say(self, line: str) -> None:
        with self._said.open("a") as said:
            said.write(f"{line}\n")
