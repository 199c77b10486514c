"""All faults by name, and which of them a mode knows."""

from tests.faults.chain.faults.network import Broken, Delayed, HalfOpen
from tests.faults.chain.faults.processes import Freeze, FreezeInCopy, Kill
from tests.faults.chain.faults.records import EventVersions, Poison
from tests.faults.chain.faults.stores import BrokerForgets, PostgresDiskFull, PostgresRestored
from tests.faults.chain.faults.topic import Reordered, TopicReplayed
from tests.faults.chain.nemesis import Fault
from tests.faults.chain.parts import INGESTS, WORKERS, Mode
from tests.kafka.proxy import Fault as Wire

_PARTS = {
    "edge worker": WORKERS, "ingest": INGESTS, "fold": ("fold",), "Postgres": ("postgres",), "Valkey": ("valkey",)
}  # fmt: skip


def faults_of(mode: Mode) -> list[Fault]:
    """One of each kind."""
    found: list[Fault] = []
    parts = _PARTS if mode == "journal" else _PARTS | {"shipper": ("shipper",), "broker": ("broker",)}
    found += [Kill(f"kill {name}", members) for name, members in parts.items()]
    found += [Freeze(f"freeze {name}", members) for name, members in parts.items()]
    found += [FreezeInCopy(), PostgresRestored(), PostgresDiskFull(), Poison(), EventVersions()]
    if mode == "kafka":
        found += [
            BrokerForgets("wipe the broker", everything=True),
            BrokerForgets("set the broker back", everything=False),
            Delayed(),
            Broken("network resets", Wire.REFUSE),
            Broken("network swallows", Wire.BLACK_HOLE),
            Broken("network swallows answers", Wire.LOSE_ANSWERS),
            HalfOpen(),
            TopicReplayed(),
            Reordered(),
        ]
    return found
