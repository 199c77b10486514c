"""Facts and their deltas as ingest stores them, written as the owner; and what Postgres holds afterwards."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from management.db.pool import SoleConnection
from management.fold.labels import Click
from shared.ids import conversion_id

if TYPE_CHECKING:
    from asyncpg import Record
else:
    Record = object

_SEQ = itertools.count(1)
STREAM = b"s" * 16


@dataclass(frozen=True, slots=True)
class Fact:
    """A stored click; `cost` in nano-units."""

    click: Click
    campaign_id: int = 1
    traffic_class: int = 1
    fraud: int = 0
    outcome: int = 1
    cost: int = 0
    cost_from: int = 0


async def ensure_days(connection: SoleConnection, start: datetime, days: int) -> None:
    for number in range(days):
        await connection.execute("SELECT ensure_click_day($1)", (start + timedelta(days=number)).date())


async def store_clicks(connection: SoleConnection, facts: Iterable[Fact]) -> None:
    """Clicks and their deltas, in this order, in one transaction."""
    rows = list(facts)
    async with connection.transaction():
        await connection.copy_records_to_table(
            "clicks",
            records=[
                (
                    *(fact.click.account_id, fact.campaign_id, fact.click.click_id, fact.click.ts, fact.click.ts),
                    *(1, fact.outcome, fact.traffic_class, fact.fraud, fact.click.flags, 0, 1),
                    *(fact.cost, fact.cost_from, 0, "US", "", "", "", ""),
                    *(fact.click.visitor_key, fact.click.visitor_key_prev, b"", b"", STREAM, next(_SEQ), "{}"),
                )
                for fact in rows
            ],
        )
        await store_deltas(connection, rows)


async def store_deltas(connection: SoleConnection, facts: Iterable[Fact]) -> None:
    await connection.copy_records_to_table(
        "click_deltas",
        columns=(
            *("account_id", "campaign_id", "click_id", "ts", "class", "fraud", "outcome", "flags", "cost"),
            *("cost_from", "visitor_key", "visitor_key_prev"),
        ),
        records=[
            (
                *(fact.click.account_id, fact.campaign_id, fact.click.click_id, fact.click.ts, fact.traffic_class),
                *(fact.fraud, fact.outcome, fact.click.flags, fact.cost, fact.cost_from),
                *(fact.click.visitor_key, fact.click.visitor_key_prev),
            )
            for fact in facts
        ],
    )


@dataclass(frozen=True, slots=True)
class Postback:
    """An effective call; `arrived_at` is when it reached the edge."""

    click_id: bytes
    arrived_at: datetime
    account_id: int = 1
    campaign_id: int = 1
    event: str = ""
    transaction_id: str = ""
    status: str = "approved"
    payout: Decimal | None = None
    default_payout: Decimal | None = None
    event_time: datetime | None = None
    reason: int = 0
    trusted: bool = True
    duplicate_mode: str = "ignore"
    cost_model: str | None = None
    cost_value: Decimal | None = None
    number: int = 0

    @property
    def conversion_id(self) -> bytes:
        text = conversion_id(self.account_id, self.click_id, self.event, self.transaction_id)
        return bytes.fromhex(text.removeprefix("conv_"))


async def store_postbacks(connection: SoleConnection, calls: Iterable[Postback]) -> None:
    """Calls and their deltas, in one transaction. A call's id and seq are its `number`, if it has one."""
    async with connection.transaction():
        for call in calls:
            number = call.number or next(_SEQ)
            await connection.execute(
                "INSERT INTO postbacks (account_id, campaign_id, id, ts, click_id, conversion_id, event,"
                " transaction_id, status, payout, default_payout, currency, event_time, reason, http_status,"
                " security, trusted, duplicate_mode, cost_model, cost_value, source_ip, method, query, origin,"
                " stream, seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'USD', $12, $13, 200, $14, $15,"
                " $16, $17, $18, '', 'GET', '', 'postback', $19, $20)",
                *(call.account_id, call.campaign_id, number.to_bytes(16, "big"), call.arrived_at, call.click_id),
                *(call.conversion_id, call.event, call.transaction_id, call.status, call.payout, call.default_payout),
                *(call.event_time, call.reason, "token" if call.trusted else "open", call.trusted),
                *(call.duplicate_mode, call.cost_model, call.cost_value, STREAM, number),
            )
            await connection.execute(
                "INSERT INTO postback_deltas (account_id, campaign_id, postback_id, conversion_id, click_id)"
                " VALUES ($1, $2, $3, $4, $5)",
                *(call.account_id, call.campaign_id, number.to_bytes(16, "big"), call.conversion_id, call.click_id),
            )


async def rollups(connection: SoleConnection, account_id: int) -> set[tuple[Any, ...]]:
    """r15 of one account without its number, without rows that say nothing."""
    rows = await connection.fetch(
        "SELECT campaign_id, bucket, basis, class, fraud, outcome, clicks, unique_clicks, click_cost, conversions,"
        " pending_conversions, rejected_conversions, revenue, pending_revenue, rejected_revenue, conversion_cost"
        " FROM r15 WHERE account_id = $1",
        account_id,
    )
    return {tuple(row) for row in rows if any(row[column] for column in range(6, 16))}


async def unique_clicks(connection: SoleConnection, account_id: int) -> set[bytes]:
    rows = await connection.fetch("SELECT click_id FROM click_labels WHERE account_id = $1 AND is_unique", account_id)
    return {row["click_id"] for row in rows}


async def conversions(connection: SoleConnection, account_id: int) -> Sequence[Record]:
    return await connection.fetch("SELECT * FROM conversions WHERE account_id = $1 ORDER BY id", account_id)


async def decisions(connection: SoleConnection, account_id: int) -> dict[int, int | None]:
    """Call number → decided_reason."""
    rows = await connection.fetch("SELECT seq, decided_reason FROM postbacks WHERE account_id = $1", account_id)
    return {row["seq"]: row["decided_reason"] for row in rows}
