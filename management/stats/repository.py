"""Figures out of Postgres: roll-ups and what waits for fold, in one snapshot, so that they are never behind and always
add up. The snapshot is the transaction's (`Reading`)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from management.db.pool import Reading
from management.db.queries import Queries
from management.stats.figures import NOTHING, Slice, Sums, add_sums
from shared.traffic import Flag

if TYPE_CHECKING:
    from asyncpg import Record
else:
    Record = object

queries = Queries("management.stats", "queries.sql")
_PREVIEW = int(Flag.PREVIEW)
_DAY = timedelta(days=1)


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
    if campaign_ids is not None:
        campaigns = await figures_by_campaign(connection, account_id, campaign_ids, start, end, basis=basis)
        return add_sums(campaigns.values())
    rows = await connection.fetch(queries["account_rolled_up"], account_id, start, end, basis)
    rows += await _waiting(connection, account_id, None, start, end, basis)
    return _sums(rows)


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
    rows = await connection.fetch(queries["rolled_up"], account_id, campaign_ids, start, end, basis)
    rows += await _waiting(connection, account_id, campaign_ids, start, end, basis)
    campaigns: dict[int, list[Record]] = {}
    for row in rows:
        campaigns.setdefault(row["campaign_id"], []).append(row)
    return {campaign_id: _sums(those) for campaign_id, those in campaigns.items()}


async def _waiting(
    connection: Reading, account_id: int, campaign_ids: list[int] | None, start: datetime, end: datetime, basis: int
) -> list[Record]:
    """What fold has not reached, by campaign and class: usually nothing, and then no day of clicks is opened."""
    of = (account_id, campaign_ids)
    [(first, last, postbacks)] = await connection.fetch(queries["waiting"], *of)
    rows: list[Record] = []
    if first is not None and first < end and last >= start:
        days = _midnight(first) - _DAY, _midnight(last) + _DAY
        rows += await connection.fetch(queries["waiting_clicks"], *of, start, end, _PREVIEW, *days)
    if postbacks:
        rows += await connection.fetch(queries["waiting_conversions"], *of, start, end, basis)
    return rows


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _sums(rows: Iterable[Record]) -> Sums:
    classes: dict[int, Slice] = {}
    for row in rows:
        values = dict(row)
        values.pop("campaign_id", None)
        traffic_class = values.pop("class")
        classes[traffic_class] = classes.get(traffic_class, NOTHING).plus(Slice(**values))
    return Sums(classes)


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
