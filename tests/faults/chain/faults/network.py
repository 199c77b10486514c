"""The network between shipper and broker: slow, torn, silent."""

from dataclasses import dataclass

from tests.faults.chain.nemesis import Scene
from tests.kafka.proxy import Fault as Wire
from tests.kafka.proxy import Proxy


@dataclass
class Delayed:
    """Every piece arrives late, in both directions."""

    name: str = "network delayed"
    hold: tuple[float, float] = (3.0, 6.0)
    seconds: float = 0.4

    async def inject(self, scene: Scene) -> None:
        await scene.aim()
        _network(scene).delay(self.seconds)

    async def heal(self, scene: Scene) -> None:
        _network(scene).heal()


@dataclass
class Broken:
    """Connections fail in the way of `wire`."""

    name: str
    wire: Wire
    hold: tuple[float, float] = (3.0, 8.0)

    async def inject(self, scene: Scene) -> None:
        await scene.aim()
        _network(scene).set(self.wire)

    async def heal(self, scene: Scene) -> None:
        _network(scene).heal()


@dataclass
class HalfOpen:
    """The broker's ends of all connections are gone, and the shipper is not told."""

    name: str = "network half open"
    hold: tuple[float, float] = (2.0, 4.0)

    async def inject(self, scene: Scene) -> None:
        await scene.aim()
        _network(scene).half_open()

    async def heal(self, scene: Scene) -> None:
        _network(scene).heal()


def _network(scene: Scene) -> Proxy:
    assert scene.system.broker is not None, "a fault of the mode kafka"
    return scene.system.broker.network
