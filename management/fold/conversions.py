"""Folds postbacks into conversions: each touched key is settled anew from all its calls, and the difference is counted.

What the inbox shows of a call (`postbacks.decided_reason`): 1, 2, 23 or 33 as settled; a call that made its conversion
shows 60 (waiting) until the click is here, then the reason it arrived with (0, 40 or 41). That a conversion with
decisions 1 or 2 waits too stands in `conversions.attached`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from management.db.pool import SoleConnection
from management.db.queries import Queries
from management.fold.conversion_state import Call, Settled, conversion_cost, settle
from management.fold.rollups import Counted, differences
from shared.ids import click_id_time
from shared.postback import ACCEPTED, WAITING

if TYPE_CHECKING:
    from asyncpg import Record
else:
    Record = object

queries = Queries("management.fold", "conversions.sql")
rollups = Queries("management.fold", "rollups.sql")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_LINK = 1

Key = tuple[int, bytes]
"""Account and conversion id, or account and click id."""


class Origin(NamedTuple):
    """What a conversion takes from its click; the default while the click is not here yet."""

    traffic_class: int = 0
    fraud: int = 0
    outcome: int = 0
    cost_from: int = 0
    attached: bool = False


async def attachable(connection: SoleConnection, first_delta: int, last_delta: int) -> set[Key]:
    """Conversions that wait for a click of this batch, whose deltas are still there."""
    if not await connection.fetchval(queries["any_waiting"]):
        return set()
    rows = await connection.fetch(queries["attachable"], first_delta, last_delta)
    return {(account, conversion) for account, conversion in rows}


async def take(connection: SoleConnection, limit: int) -> tuple[set[Key], int]:
    """Drop up to `limit` postback deltas; the conversions they touch, and how many deltas it were."""
    rows = await connection.fetch(queries["take_postbacks"], limit)
    return {(row["account_id"], row["conversion_id"]) for row in rows}, sum(row["deltas"] for row in rows)


async def fold(connection: SoleConnection, keys: Collection[Key]) -> None:
    """Settle the conversions `keys`, count the differences, write each call's decision."""
    calls = await _calls(connection, keys)
    clicks = await _clicks(connection, {(account, rows[0]["click_id"]) for (account, _), rows in calls.items()})
    standing = await _standing(connection, keys)

    decisions: list[tuple[int, bytes, int]] = []
    stored: list[tuple[Any, ...]] = []
    changes: list[tuple[Counted | None, Counted]] = []
    for key, rows in calls.items():
        settled = settle(_call(row) for row in rows)
        click = clicks.get((key[0], rows[0]["click_id"]), Origin())
        decisions += _decisions(rows, settled, click.attached)
        if settled.conversion is None:
            continue
        made = _counted(rows[0], settled, click)
        stored.append(_stored(key, rows[0], settled, made, click.attached))
        changes.append((standing.get(key), made))

    if stored:
        await connection.execute(queries["store_conversions"], *zip(*stored, strict=True))
        await _count(connection, changes)
    if decisions:
        await connection.execute(queries["decide"], *zip(*decisions, strict=True))


async def _calls(connection: SoleConnection, keys: Iterable[Key]) -> dict[Key, list[Record]]:
    found: defaultdict[Key, list[Record]] = defaultdict(list)
    for row in await connection.fetch(queries["calls"], *_columns(keys)):
        found[row["account_id"], row["conversion_id"]].append(row)
    return found


async def _clicks(connection: SoleConnection, keys: Collection[Key]) -> dict[Key, Origin]:
    accounts, click_ids = _columns(keys)
    rows = await connection.fetch(queries["clicks_of"], accounts, click_ids, [_click_at(raw) for raw in click_ids])
    return {
        (row["account_id"], row["click_id"]): Origin(row["class"], row["fraud"], row["outcome"], row["cost_from"], True)
        for row in rows
    }


async def _standing(connection: SoleConnection, keys: Iterable[Key]) -> dict[Key, Counted]:
    return {
        (row["account_id"], row["id"]): Counted(
            row["account_id"],
            row["campaign_id"],
            row["status"],
            row["payout"],
            row["cost"],
            row["click_at"],
            row["converted_at"],
            row["class"],
            row["fraud"],
            row["outcome"],
        )
        for row in await connection.fetch(queries["standing"], *_columns(keys))
    }


async def _count(connection: SoleConnection, changes: Iterable[tuple[Counted | None, Counted]]) -> None:
    rows = [
        (*bucket, *amounts.counts, *amounts.payouts, amounts.cost) for bucket, amounts in differences(changes).items()
    ]
    if rows:
        await connection.execute(rollups["add_conversions"], *zip(*rows, strict=True))


def _call(row: Record) -> Call:
    return Call(
        row["id"],
        row["happened_at"],
        row["arrived_at"],
        row["stream"],
        row["seq"],
        row["status"],
        row["payout"],
        row["default_payout"],
        row["currency"],
        row["trusted"],
        row["duplicate_mode"],
        row["cost_model"],
        row["cost_value"],
        row["origin"],
    )


def _decisions(rows: Iterable[Record], settled: Settled, attached: bool) -> Iterable[tuple[int, bytes, int]]:
    """Account, call and reason, where the reason is a new one."""
    for row in rows:
        reason = settled.reasons[row["id"]]
        if reason == ACCEPTED:
            reason = row["reason"] if attached else WAITING
        if reason != row["decided_reason"]:
            yield row["account_id"], row["id"], reason


def _counted(row: Record, settled: Settled, click: Origin) -> Counted:
    made = settled.conversion
    assert made is not None
    return Counted(
        row["account_id"],
        row["campaign_id"],
        made.status,
        made.payout,
        conversion_cost(made, from_link=click.cost_from == _FROM_LINK),
        _click_at(row["click_id"]),
        made.converted_at,
        click.traffic_class,
        click.fraud,
        click.outcome,
    )


def _stored(key: Key, row: Record, settled: Settled, counted: Counted, attached: bool) -> tuple[Any, ...]:
    """The columns of store_conversions."""
    made = settled.conversion
    assert made is not None
    return (
        *key,
        counted.campaign_id,
        row["click_id"],
        row["event"],
        row["transaction_id"],
        made.status,
        made.original_status,
        made.payout,
        made.currency,
        counted.cost,
        counted.click_at,
        made.converted_at,
        counted.traffic_class,
        counted.fraud,
        counted.outcome,
        attached,
        made.origin,
        made.created_at,
    )


def _click_at(click_id: bytes) -> datetime:
    return _EPOCH + timedelta(milliseconds=click_id_time(click_id))


def _columns(keys: Iterable[Key]) -> tuple[list[int], list[bytes]]:
    pairs = list(keys)
    return [account for account, _ in pairs], [raw for _, raw in pairs]
