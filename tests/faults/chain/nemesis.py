"""Brings one fault after another upon the chain, under load, and waits each time until it is well again."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.faults.chain.health import CANARIES, NotHealthy, until_answered, until_healthy
from tests.faults.chain.oracle import Ledger, Page
from tests.faults.chain.system import System

HEALING_SECONDS: Final = 120.0
"""From the end of a fault to a healthy chain: a deadline, far above what it takes."""
_AIM_SECONDS: Final = 30.0


@dataclass
class Scene:
    """What a fault works on. `ledger` is the nemesis' own: what faults ask for themselves is written there."""

    system: System
    page: Page
    ledger: Ledger
    chance: random.Random
    seed: int
    in_flight: list[int] = field(default_factory=list)
    planted: int = 0

    async def aim(self) -> None:
        """Returns while requests are in flight, and after new answers: the fault that follows hits something."""
        await until_answered(self.page, 1, _AIM_SECONDS)
        deadline = time.monotonic() + _AIM_SECONDS
        while not (found := self.page.in_flight):
            if time.monotonic() > deadline:
                raise NotHealthy("no request is in flight: the fault would prove nothing")
            await asyncio.sleep(0)
        self.in_flight.append(found)


class Fault(Protocol):
    """`hold`: it lasts for a while between these, in seconds. `inject` returns when it is in force, having called
    `Scene.aim` right before; after `heal` nothing of it is left."""

    name: str
    hold: tuple[float, float]

    async def inject(self, scene: Scene) -> None: ...

    async def heal(self, scene: Scene) -> None: ...


@dataclass(frozen=True)
class Survived:
    """One fault: how many requests were in flight when it struck, and seconds from its end to a healthy chain."""

    name: str
    in_flight: int
    healthy_after: float


def schedule(faults: Sequence[Fault], count: int, chance: random.Random) -> Iterator[Fault]:
    """`count` faults; each comes once before any comes again."""
    while count > 0:
        yield from chance.sample(faults, min(count, len(faults)))
        count -= len(faults)


async def strike(scene: Scene, fault: Fault, tell: Callable[[str], None]) -> Survived:
    """One fault from beginning to end; raises NotHealthy when the chain does not recover."""
    aims = len(scene.in_flight)
    tell(f"{fault.name}: struck")
    await fault.inject(scene)
    witnesses = scene.page.last_ids(CANARIES)
    await asyncio.sleep(scene.chance.uniform(*fault.hold))
    witnesses += scene.page.last_ids(CANARIES)
    await fault.heal(scene)
    tell(f"{fault.name}: healing")
    try:
        seconds = await until_healthy(scene.system, scene.page, witnesses, HEALING_SECONDS)
    except NotHealthy as trouble:
        raise NotHealthy(f"{fault.name}: {trouble}") from None
    in_flight = scene.in_flight[aims:]
    assert in_flight, f"{fault.name} struck without taking aim"
    return Survived(fault.name, min(in_flight), seconds)
