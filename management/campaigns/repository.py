"""What campaigns ask of Postgres. A row is the whole row of `campaigns`, by column name."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from management.db.pool import Reading, Writing
from management.db.queries import Queries

if TYPE_CHECKING:
    from asyncpg import Record
else:
    Record = object

queries = Queries("management.campaigns", "queries.sql")

CampaignRecord = Mapping[str, Any]

WRITABLE = (
    "name", "status", "traffic_source_id", "cost_model", "cost_value", "destination_url", "fallback_url", "bot_action",
    "time_zone", "attribution_window_hours", "default_payout", "max_payout", "max_click_cost", "duplicate_mode",
    "postback_security", "postback_tokens", "allowed_ips",
)  # fmt: skip
"""Columns that callers set, in the order in which the statements take them."""


async def count(connection: Reading, account_id: int, status: str | None) -> int:
    rows: int = await connection.fetchval(queries["count_campaigns"], account_id, status)
    return rows


async def page(
    connection: Reading, account_id: int, status: str | None, limit: int, offset: int
) -> list[CampaignRecord]:
    rows = await connection.fetch(queries["list_campaigns"], account_id, status, limit, offset)
    return [dict(row) for row in rows]


async def get(connection: Reading, account_id: int, campaign_id: int) -> CampaignRecord | None:
    return _record(await connection.fetchrow(queries["get_campaign"], account_id, campaign_id))


async def lock(connection: Writing, account_id: int, campaign_id: int) -> CampaignRecord | None:
    """The campaign, held until the transaction ends."""
    return _record(await connection.fetchrow(queries["lock_campaign"], account_id, campaign_id))


async def insert(connection: Writing, account_id: int, uuid: str, values: Mapping[str, Any]) -> CampaignRecord:
    version = await _next_version(connection)
    row = await connection.fetchrow(queries["insert_campaign"], account_id, uuid, version, *_in_order(values))
    assert row is not None, "an INSERT with RETURNING gives its row"
    return dict(row)


async def change(
    connection: Writing, account_id: int, campaign_id: int, values: Mapping[str, Any]
) -> CampaignRecord | None:
    version = await _next_version(connection)
    row = await connection.fetchrow(queries["change_campaign"], account_id, campaign_id, version, *_in_order(values))
    return _record(row)


async def delete(connection: Writing, account_id: int, campaign_id: int) -> CampaignRecord | None:
    version = await _next_version(connection)
    return _record(await connection.fetchrow(queries["delete_campaign"], account_id, campaign_id, version))


def _record(row: Record | None) -> CampaignRecord | None:
    return None if row is None else dict(row)


async def _next_version(connection: Writing) -> int:
    version: int = await connection.fetchval(queries["raise_routing_version"])
    return version


def _in_order(values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(values[name] for name in WRITABLE)
