"""What conversions ask of Postgres. Ids are the 16 bytes behind `conv_`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from management.api.pages import COUNTED, Position, Total
from management.db.pool import Reading, Writing
from management.db.queries import Queries
from management.fold.conversion_state import Call

queries = Queries("management.conversions", "queries.sql")

ConversionRecord = Mapping[str, Any]
API_STREAM = bytes(16)
"""Stands where the calls of edges have their journal's stream; in no stream's books."""


@dataclass(frozen=True, slots=True)
class ConversionFilter:
    account_id: int
    campaign_id: int | None
    start: datetime | None
    end: datetime | None
    status: str | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.account_id, self.campaign_id, self.start, self.end, self.status)


@dataclass(frozen=True, slots=True)
class ConvertingCampaign:
    """What a campaign says of its conversions."""

    id: int
    attribution_window_hours: int
    default_payout: Decimal | None
    duplicate_mode: str
    postback_security: str
    cost_model: str | None
    cost_value: Decimal | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call on the API's port as the inbox keeps it; `call` is the part that decides the conversion."""

    account_id: int
    campaign: ConvertingCampaign
    click_id: bytes
    conversion_id: bytes
    event: str
    transaction_id: str
    call: Call
    reason: int
    http_status: int
    source_ip: str


async def page(
    connection: Reading, wanted: ConversionFilter, *, after: Position | None, limit: int, offset: int
) -> list[ConversionRecord]:
    """Newest first, by (time of conversion, id)."""
    where = (after.ts, after.row_id) if after else (None, None)
    rows = await connection.fetch(queries["list_conversions"], *wanted.arguments, *where, limit, offset)
    return [dict(row) for row in rows]


async def total(connection: Reading, wanted: ConversionFilter) -> Total:
    return Total.counted(await connection.fetchval(queries["count_up_to"], *wanted.arguments, COUNTED + 1))


async def get(connection: Reading, account_id: int, conversion_id: bytes) -> ConversionRecord | None:
    row = await connection.fetchrow(queries["get_conversion"], account_id, conversion_id)
    return None if row is None else dict(row)


async def campaign_of_click(connection: Writing, account_id: int, campaign_id: int) -> ConvertingCampaign | None:
    row = await connection.fetchrow(queries["campaign_of_click"], account_id, campaign_id)
    return None if row is None else ConvertingCampaign(**row)


async def lock_calls(connection: Writing, account_id: int, conversion_id: bytes) -> list[Call]:
    """The calls of one conversion; nobody adds one by the API until the transaction ends."""
    await connection.execute(queries["lock_key"], int.from_bytes(conversion_id[:8], "big", signed=True))
    return [Call(**row) for row in await connection.fetch(queries["calls"], account_id, conversion_id)]


async def number(connection: Writing, account_id: int, conversion_id: bytes) -> int | None:
    """The conversion's number; None until fold has reached it."""
    found: int | None = await connection.fetchval(queries["number"], account_id, conversion_id)
    return found


async def next_seq(connection: Writing) -> int:
    seq: int = await connection.fetchval(queries["next_seq"])
    return seq


async def store(connection: Writing, new: NewCall) -> None:
    """The call and its delta, in the caller's transaction."""
    call = new.call
    await connection.execute(
        queries["store_call"],
        new.account_id,
        new.campaign.id,
        call.id,
        call.arrived_at,
        new.click_id,
        new.conversion_id,
        new.event,
        new.transaction_id,
        call.status,
        call.payout,
        call.default_payout,
        call.currency,
        new.reason,
        new.http_status,
        new.campaign.postback_security,
        call.duplicate_mode,
        call.cost_model,
        call.cost_value,
        new.source_ip,
        call.stream,
        call.seq,
    )
