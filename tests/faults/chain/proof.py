"""Whether a run proved anything: requests were in flight, records were met twice, records were sent twice."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from shared.data_dir import DataDir
from tests.faults.chain.parts import INGESTS
from tests.faults.chain.system import System

_LOOK_SECONDS: Final = 0.25
"""Statuses are written once a second."""
_KNOWN: Final = """
SELECT coalesce(sum(position.next - 1 - (SELECT count(*) FROM clicks WHERE stream = position.stream)
    - (SELECT count(*) FROM postbacks WHERE stream = position.stream)
    - (SELECT count(*) FROM dead_letters WHERE stream = position.stream)), 0)::bigint
FROM stream_positions AS position
"""


@dataclass
class Proof:
    """`in_flight`: requests at each fault; `resends` is None where nothing is shipped."""

    in_flight: list[int]
    resends: int | None
    repeats: int

    def lacking(self) -> list[str]:
        """Why this run would pass even if nothing worked; empty when it would not."""
        found = []
        if not self.in_flight or min(self.in_flight) < 1:
            found.append("a fault met no request in flight")
        if self.repeats < 1:
            found.append("no record came twice")
        if self.resends is not None and self.resends < 1:
            found.append("the shipper sent nothing again")
        return found


class Witness:
    """Reads what shipper and ingests say of themselves. Their counts begin anew with each life, so they are looked at
    again and again, and kept by process."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._resent: dict[int, int] = {}
        self._repeats: dict[int, int] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self._look(self._system.data_dir.ship_status, "resent", self._resent)
            for name in INGESTS:
                self._look(DataDir.at(self._system.home(name)).ingest_status, "repeats", self._repeats)
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self, file: Path, name: str, seen: dict[int, int]) -> None:
        if file.exists():
            said = orjson.loads(file.read_bytes())
            seen[said["pid"]] = max(seen.get(said["pid"], 0), said[name])

    async def proof(self, in_flight: list[int]) -> Proof:
        """All that was seen, and the records that ingest settled without storing: their event was there already."""
        async with self._system.database(seconds=60.0) as connection:
            known: int = await connection.fetchval(_KNOWN)
        resends = sum(self._resent.values()) if self._system.mode == "kafka" else None
        return Proof(in_flight, resends, sum(self._repeats.values()) + known)
