"""Stores that forget, or have no room: Postgres and the broker."""

import asyncio
import subprocess
from pathlib import Path
from typing import Final

from tests.faults.chain.faults.processes import go_on, stop
from tests.faults.chain.health import CANARIES, NotHealthy, on_the_way, until_answered, until_healthy
from tests.faults.chain.nemesis import HEALING_SECONDS, Scene
from tests.faults.chain.parts import INGESTS, WORKERS

_LATER: Final = 150
"""Clicks that are answered between a copy and its return."""
_FULL_SECONDS: Final = 60.0


class PostgresRestored:
    """Postgres goes back to a copy taken earlier: positions, clicks, roll-ups and leases of before."""

    name = "restore Postgres"
    hold = (0.0, 1.0)

    async def inject(self, scene: Scene) -> None:
        system = scene.system
        live, copy = system.postgres_dir.postgres, system.folder / "backup"
        await system.hold_down("postgres")
        await asyncio.to_thread(_replace, live, copy)
        system.release("postgres")
        await until_answered(scene.page, _LATER, HEALING_SECONDS)
        # Its stream is complete, consumed and behind everybody's back when its positions go back.
        system.kill(scene.chance.choice(WORKERS))
        await until_healthy(system, scene.page, scene.page.last_ids(CANARIES), HEALING_SECONDS)
        await scene.aim()
        await system.hold_down("postgres")
        await asyncio.to_thread(_replace, copy, live)

    async def heal(self, scene: Scene) -> None:
        scene.system.release("postgres")


class PostgresDiskFull:
    """The file system that Postgres lies on has no byte left: rows, then its log, find no room."""

    name = "fill the disk of Postgres"
    hold = (1.0, 4.0)

    async def inject(self, scene: Scene) -> None:
        await scene.aim()
        scene.system.disk.fill()
        try:
            async with asyncio.timeout(_FULL_SECONDS):
                # In force once clicks stay on the way that were answered a good while ago.
                while True:
                    ids = scene.page.last_ids(CANARIES)
                    await asyncio.sleep(1.5)
                    if await on_the_way(scene.system, ids):
                        return
        except TimeoutError:
            raise NotHealthy("Postgres does not notice that its disk is full") from None

    async def heal(self, scene: Scene) -> None:
        scene.system.disk.relieve()


class BrokerForgets:
    """The broker loses records that it acknowledged and nobody consumed: all its data, or what came since a copy."""

    hold = (0.0, 1.0)

    def __init__(self, name: str, *, everything: bool) -> None:
        self.name = name
        self._everything = everything
        self._frozen: list[int] = []

    async def inject(self, scene: Scene) -> None:
        system = scene.system
        assert system.broker is not None
        if not self._everything:
            await asyncio.to_thread(system.broker.remember)
            await asyncio.to_thread(system.broker.start)
            await until_healthy(system, scene.page, scene.page.last_ids(CANARIES), HEALING_SECONDS)
        self._frozen = [pid for name in INGESTS if (pid := system.pid(name)) is not None]
        stop(self._frozen)
        await until_answered(scene.page, _LATER, HEALING_SECONDS)
        system.kill(scene.chance.choice(WORKERS))  # so that a stream is complete before its records are forgotten
        await asyncio.sleep(1.0)  # so that all of these are acknowledged
        await scene.aim()
        await asyncio.to_thread(system.broker.wipe if self._everything else system.broker.go_back)
        system.kills += 1

    async def heal(self, scene: Scene) -> None:
        assert scene.system.broker is not None
        go_on(self._frozen)
        await asyncio.to_thread(scene.system.broker.start)


def _replace(source: Path, destination: Path) -> None:
    """`destination` becomes a copy of `source`, owners and rights included."""
    subprocess.run(["rm", "-rf", str(destination)], check=True)
    subprocess.run(["cp", "-a", str(source), str(destination)], check=True)
