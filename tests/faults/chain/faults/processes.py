"""Processes that die at once (SIGKILL) and processes that stop moving for a while (SIGSTOP)."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import psutil

from management.db.pool import UNREACHABLE
from tests.faults.chain.health import until_answered
from tests.faults.chain.nemesis import Scene
from tests.faults.chain.parts import INGESTS
from tests.faults.chain.system import System

_COPYING: Final = """
SELECT client_port FROM pg_stat_activity
WHERE application_name LIKE 'milepost ingest%' AND state = 'active' AND query LIKE 'COPY%'
"""
_HUNT_SECONDS: Final = 30.0


@dataclass
class Kill:
    """`parts`: one of them is drawn each time. What keeps the parts going starts it again."""

    name: str
    parts: tuple[str, ...]
    hold: tuple[float, float] = (0.0, 0.3)

    async def inject(self, scene: Scene) -> None:
        part = scene.chance.choice(self.parts)
        await scene.aim()
        scene.system.kill(part)

    async def heal(self, scene: Scene) -> None:
        """The broker has no keeper of its own."""
        if scene.system.broker is not None and "broker" in self.parts:
            await asyncio.to_thread(scene.system.broker.kill)  # waits for its end, so that it is not taken for alive
            await asyncio.to_thread(scene.system.broker.start)


@dataclass
class Freeze:
    """All processes of one of the `parts` stand still; their connections stay open and say nothing."""

    name: str
    parts: tuple[str, ...]
    hold: tuple[float, float] = (2.0, 7.0)
    _frozen: list[int] = field(default_factory=list)

    async def inject(self, scene: Scene) -> None:
        part = scene.chance.choice(self.parts)
        await scene.aim()
        self._frozen = scene.system.family(part)
        stop(self._frozen)

    async def heal(self, scene: Scene) -> None:
        go_on(self._frozen)


class FreezeInCopy:
    """An ingest stands still in the middle of a COPY: its backend waits for the rest inside a transaction."""

    name = "freeze ingest in COPY"
    hold = (6.0, 8.0)  # longer than a lease lasts without a sign of life: the other one takes over

    def __init__(self) -> None:
        self._frozen: list[int] = []

    async def inject(self, scene: Scene) -> None:
        deadline = time.monotonic() + _HUNT_SECONDS
        await scene.aim()
        while not self._frozen:
            assert time.monotonic() < deadline, "no ingest was met in a COPY"
            # A backlog makes a COPY long enough to be met.
            stopped = [pid for name in INGESTS if (pid := scene.system.pid(name)) is not None]
            stop(stopped)
            await until_answered(scene.page, 200, _HUNT_SECONDS)
            go_on(stopped)
            with suppress(*UNREACHABLE, asyncpg.PostgresError):
                await self._hunt(scene.system, dict.fromkeys(stopped))

    async def _hunt(self, system: System, pids: dict[int, None]) -> None:
        """Freezes the first ingest that is seen copying, and lets it go again when the COPY was over before."""
        async with system.database() as connection:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                for port in await connection.fetch(_COPYING):
                    holders = [pid for pid in pids if _holds(pid, port["client_port"])]
                    stop(holders)
                    await asyncio.sleep(0.05)
                    still = {row["client_port"] for row in await connection.fetch(_COPYING)}
                    if holders and port["client_port"] in still:
                        self._frozen = holders
                        return
                    go_on(holders)

    async def heal(self, scene: Scene) -> None:
        go_on(self._frozen)
        self._frozen = []


def stop(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def go_on(pids: list[int]) -> None:
    """Also where some are gone: whoever takes over ends the backend of one that is silent."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _holds(pid: int, port: int) -> bool:
    """Whether the process has a connection from this local port."""
    try:
        return any(found.laddr and found.laddr.port == port for found in psutil.Process(pid).net_connections("tcp"))
    except psutil.NoSuchProcess:
        return False
