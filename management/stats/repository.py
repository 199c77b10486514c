"""Figures out of Postgres: roll-ups and deltas in one statement, so that they are never behind and always add up."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from management.db.pool import Reading
from management.db.queries import Queries
from management.stats.figures import COLUMNS, Slice, Sums, add_sums
from shared.traffic import Flag

queries = Queries("management.stats", "queries.sql")
_PREVIEW = int(Flag.PREVIEW)


async def figures(
    connection: Reading,
    account_id: int,
    campaign_ids: list[int] | None,
    start: datetime,
    end: datetime,
    *,
    basis: int = 0,
) -> Sums:
    """Sums of [start, end), both on a quarter hour; `campaign_ids` None: all of the account.

    `basis` 0 dates conversions by their own time, 1 by their click's.
    """
    return add_sums((await figures_by_campaign(connection, account_id, campaign_ids, start, end, basis=basis)).values())


async def figures_by_campaign(
    connection: Reading,
    account_id: int,
    campaign_ids: list[int] | None,
    start: datetime,
    end: datetime,
    *,
    basis: int = 0,
) -> dict[int, Sums]:
    """Campaign → its sums, only those with any; they add up to `figures` of the same range."""
    rows = await connection.fetch(queries["figures"], account_id, campaign_ids, start, end, basis, _PREVIEW)
    campaigns: dict[int, dict[int, Slice]] = {}
    for row in rows:
        campaigns.setdefault(row["campaign_id"], {})[row["class"]] = Slice(*(row[column] for column in COLUMNS))
    return {campaign_id: Sums(classes) for campaign_id, classes in campaigns.items()}


async def clicks_and_conversions(
    connection: Reading, account_id: int, ranges: Iterable[tuple[int, datetime, datetime]]
) -> dict[int, tuple[int, int]]:
    """Campaign → (clicks of all classes, approved conversions), each campaign once and in its own [start, end)."""
    asked: Sequence[tuple[int, datetime, datetime]] = list(ranges)
    found = {campaign_id: (0, 0) for campaign_id, _, _ in asked}
    if asked:
        campaign_ids, starts, ends = zip(*asked, strict=True)
        for row in await connection.fetch(queries["clicks_and_conversions"], account_id, campaign_ids, starts, ends):
            found[row["campaign_id"]] = (row["clicks"], row["conversions"])
    return found
