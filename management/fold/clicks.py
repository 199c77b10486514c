"""Folds a batch of click deltas: labels by event time, then one statement for all that follows from them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from management.db.pool import SoleConnection
from management.db.queries import Queries
from management.fold.labels import WINDOW, Change, Click, Opening, Visitor, day_of, label_day
from shared.traffic import Flag

queries = Queries("management.fold", "labels.sql")
_DAY = timedelta(days=1)
_PREVIEW = int(Flag.PREVIEW)


async def read(connection: SoleConnection, limit: int) -> list[Click]:
    """The oldest `limit` deltas; the transaction must be repeatable read, so that `fold` deletes exactly these."""
    return [Click._make(row) for row in await connection.fetch(queries["read_clicks"], limit)]


async def fold(connection: SoleConnection, clicks: list[Click]) -> None:
    """Label `clicks`, count them, drop their deltas."""
    first, last = clicks[0].id, clicks[-1].id
    unique_ids: set[int] = set()
    days = _by_day(clicks)
    changed: dict[Visitor, Opening | None] = {}
    day = min(days)
    while days or changed:
        if not changed:
            day = min(days)
        change = await _label(connection, day, days.pop(day, []), changed, (first, last))
        unique_ids.update(change.unique_ids)
        if change.relabelled:
            await _relabel(connection, day, change)
        changed = change.openings
        day += _DAY
    mostly_unique = len(unique_ids) * 2 > len(clicks)
    named = [click.id for click in clicks if click.id not in unique_ids] if mostly_unique else list(unique_ids)
    folded = await connection.fetchval(queries["fold_clicks"], first, last, named, not mostly_unique)
    if folded != len(clicks):
        raise RuntimeError(f"{len(clicks)} click deltas were read and {folded} deleted: not repeatable")


def _by_day(clicks: Iterable[Click]) -> dict[datetime, list[Click]]:
    """Clicks by the UTC midnight before them; made for runs of the same day."""
    days: dict[datetime, list[Click]] = {}
    day = end = datetime.min.replace(tzinfo=UTC)
    those: list[Click] = []
    for click in clicks:
        if not day <= click.ts < end:
            day = day_of(click.ts)
            end = day + _DAY
            those = days.setdefault(day, [])
        those.append(click)
    return days


async def _label(
    connection: SoleConnection,
    day: datetime,
    clicks: list[Click],
    changed: Mapping[Visitor, Opening | None],
    batch: tuple[int, int],
) -> Change:
    """`changed`: openings of the day before that this batch moved; `batch`: its first and last delta."""
    standing: dict[Visitor, Opening] = {}
    before: dict[Visitor, Opening | None] = {}
    if clicks:
        rows = await connection.fetch(queries["openings_before"], *batch, day - _DAY, day, day + _DAY)
        for same_day, account, key, ts, click_id in rows:
            (standing if same_day else before)[account, key] = Opening(ts, click_id)
    before.update(changed)
    reopened = await _reopened(connection, day, changed)
    if reopened:
        rows = await connection.fetch(queries["openings"], *_columns(reopened), day, day + _DAY)
        standing.update({(account, key): Opening(ts, click_id) for account, key, ts, click_id in rows})
    return label_day(clicks, standing, before, reopened)


async def _reopened(
    connection: SoleConnection, day: datetime, changed: Mapping[Visitor, Opening | None]
) -> dict[Visitor, Opening | None]:
    """Clicks usually come in order, and then the day after theirs has no labels at all."""
    if not changed or not await connection.fetchval(queries["any_label"], day, day + _DAY):
        return {}
    accounts, keys = _columns(changed)
    limits = [opening and opening.ts + WINDOW for opening in changed.values()]
    rows = await connection.fetch(queries["reopened"], accounts, keys, limits, day, day + _DAY, _PREVIEW)
    return {(account, key): None if ts is None else Opening(ts, click_id) for account, key, ts, click_id in rows}


async def _relabel(connection: SoleConnection, day: datetime, change: Change) -> None:
    visitors, openings, labels = zip(*change.relabelled, strict=True)
    accounts, keys = _columns(visitors)
    times, click_ids = zip(*openings, strict=True)
    done = await connection.fetchval(queries["relabel"], accounts, keys, times, click_ids, labels, day, day + _DAY)
    if done != len(labels):
        raise RuntimeError(f"{len(labels)} labels were to change and {done} did: labels and openings disagree")


def _columns(visitors: Iterable[Visitor]) -> tuple[list[int], list[bytes]]:
    pairs = list(visitors)
    return [account for account, _ in pairs], [key for _, key in pairs]
