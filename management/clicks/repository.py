"""What clicks ask of Postgres."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from management.api.pages import COUNTED, Position, Total
from management.db.pool import Reading
from management.db.queries import Queries
from shared.traffic import Outcome

queries = Queries("management.clicks", "queries.sql")

ClickRecord = Mapping[str, Any]
CLOAKED = (int(Outcome.FALLBACK), int(Outcome.BLOCKED))
"""Outcomes of a campaign's own `bot_action`."""


@dataclass(frozen=True, slots=True)
class ClickFilter:
    """Which clicks of one account. `traffic_class` leaves cloaked clicks out; `cloaked` asks for these alone."""

    account_id: int
    campaign_id: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    traffic_class: int | None = None
    cloaked: bool = False
    country: str | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (
            self.account_id,
            self.campaign_id,
            self.start,
            self.end,
            self.traffic_class,
            CLOAKED,
            self.cloaked,
        )


async def page(
    connection: Reading, wanted: ClickFilter, *, after: Position | None, limit: int, offset: int
) -> list[ClickRecord]:
    """Newest first, by (time, id)."""
    where = (after.ts, after.row_id) if after else (None, None)
    rows = await connection.fetch(queries["list_clicks"], *wanted.arguments, wanted.country, *where, limit, offset)
    return [dict(row) for row in rows]


async def total(connection: Reading, wanted: ClickFilter) -> Total:
    if wanted.country is None:
        return Total(await connection.fetchval(queries["count_rolled_up"], *wanted.arguments))
    rows = await connection.fetchval(queries["count_up_to"], *wanted.arguments, wanted.country, COUNTED + 1)
    return Total.counted(rows)


async def converted(connection: Reading, account_id: int, click_ids: list[bytes]) -> set[bytes]:
    """Those of the clicks that have a conversion which is not rejected."""
    return {row["click_id"] for row in await connection.fetch(queries["converted"], account_id, click_ids)}


async def get(connection: Reading, account_id: int, click_id: bytes, ts: datetime) -> ClickRecord | None:
    row = await connection.fetchrow(queries["get_click"], account_id, click_id, ts)
    return None if row is None else dict(row)


async def conversions_of(connection: Reading, account_id: int, click_id: bytes) -> list[Mapping[str, Any]]:
    return [dict(row) for row in await connection.fetch(queries["conversions_of"], account_id, click_id)]
