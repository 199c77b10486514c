"""Fills Postgres inside the server with what ingest and fold would have left there, or with what waits for fold.

tests/integration/benchmarks/test_filling.py shows that fold makes exactly these labels and roll-ups of these deltas.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson

from benchmarks import prepared
from benchmarks.database import Connection
from management.db.queries import Queries

queries = Queries("benchmarks", "filling.sql")
CHUNK = 40_000
"""Clicks of one statement; a multiple of 4."""
WAITING = ("fill_clicks", "fill_deltas")
"""What ingest leaves for fold."""
FOLDED = ("fill_clicks", "fill_labels", "fill_rollups")
"""The same when fold was there."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """`count` clicks, numbered from `first` (a multiple of 4, as `count` is), evenly over `seconds` from `since`, which
    lie on one UTC day, and over `campaigns` campaigns from the one numbered `campaign`."""

    since: datetime
    seconds: int
    first: int
    count: int
    account: int
    campaign: int
    campaigns: int

    def __post_init__(self) -> None:
        if self.first % 4 or self.count % 4 or self.count > self.seconds * 1000:
            raise ValueError("not whole visitors, or two clicks in a millisecond")

    def chunks(self) -> Iterator[tuple[int, int]]:
        """First and last numbers."""
        for first in range(self.first, self.first + self.count, CHUNK):
            yield first, min(first + CHUNK, self.first + self.count) - 1


class Filler:
    """Fills on one connection, the owner's."""

    def __init__(self, connection: Connection, details: str) -> None:
        self._connection = connection
        self._details = details

    @classmethod
    async def open(cls, connection: Connection) -> "Filler":
        await connection.execute(queries["make_clicks"])
        # What is lost by a power cut is the bench itself.
        await connection.execute("SET synchronous_commit = off")
        event = orjson.loads(prepared.payloads(1, 1)[0])
        details = orjson.dumps(event["details"]).decode().replace("zone1", "zone0")
        return cls(connection, details)

    async def campaigns(self, account: int, count: int) -> int:
        """Make `count` campaigns, whose numbers follow the one that is given."""
        rows = await self._connection.fetch(queries["make_campaigns"], account, count)
        numbers: list[int] = sorted(row["id"] for row in rows)
        if numbers[-1] - numbers[0] != count - 1:
            raise RuntimeError("somebody else makes campaigns meanwhile")
        return numbers[0]

    async def day(self, since: datetime) -> None:
        await self._connection.execute("SELECT ensure_click_day($1)", since.date())

    async def fill(self, clicks: Clicks, statements: tuple[str, ...], first: int, last: int) -> None:
        """The clicks `first` … `last`, a chunk of `clicks`, whose day is there."""
        wanted = (
            clicks.since, first, last, clicks.count, clicks.seconds, clicks.account, clicks.campaign, clicks.campaigns,
            clicks.first,
        )  # fmt: skip
        async with self._connection.transaction():
            for name in statements:
                details = (self._details,) if name == "fill_clicks" else ()
                await self._connection.execute(queries[name], *wanted, *details, timeout=300)
