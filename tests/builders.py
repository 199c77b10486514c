"""Rows as ingest stores them, straight into the tables: `click(**changes)`, `campaign(**changes)`, and their storing.

For tests of what reads these tables. How events become such rows is tests/unit/ingest and tests/integration/ingest.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson

from shared.ids import ClickIds, click_id_bytes
from shared.traffic import ClickMode, Flag, FraudType, Outcome, TrafficClass
from tests.rollup_sums import sum_anew

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = object

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DELTA = (
    "account_id", "campaign_id", "click_id", "ts", "class", "fraud", "outcome", "flags", "cost", "cost_from",
    "visitor_key", "visitor_key_prev",
)  # fmt: skip


def click(ids: ClickIds, account_id: int, campaign_id: int, at: datetime, **changes: Any) -> Row:
    """A real person's click at `at`, redirected; `changes` replace columns, `details` is merged."""
    time_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    ts = _EPOCH + timedelta(milliseconds=time_ms)
    details = {
        "os_version": "14", "browser_version": "124", "language": "en", "user_agent": "Mozilla/5.0 (X11)",
        "referrer": "https://search.example/", "region": "California", "city": "San Jose", "isp": "Example ISP",
        "bot": "", "bot_kind": "", "subs": {"sub1": "zone-7"}, "external_id": "ext-1", "params": {"color": "red"},
        "platform_ids": {"gclid": "G1"}, "reasons": [["no_accept_language", 40]],
        "location": "https://shop.example/?cid=1", "link": ["campaign_active", "destination"], "scheme": "https",
    }  # fmt: skip
    row: Row = {
        "account_id": account_id,
        "campaign_id": campaign_id,
        "click_id": click_id_bytes(ids.issue(campaign_id, time_ms)),
        "ts": ts,
        "reported_at": ts,
        "mode": int(ClickMode.CLICK),
        "outcome": int(Outcome.REDIRECTED),
        "class": int(TrafficClass.REAL),
        "fraud": int(FraudType.NONE),
        "flags": 0,
        "score": 40,
        "rules": 1,
        "cost": 500_000_000,
        "cost_from": 0,
        "asn": 64496,
        "country": "US",
        "device": "desktop",
        "os": "Linux",
        "browser": "Firefox",
        "ip": "192.168.7.0",
        "visitor_key": secrets.token_bytes(12),
        "visitor_key_prev": secrets.token_bytes(12),
        "address_key": secrets.token_bytes(12),
        "address_key_prev": secrets.token_bytes(12),
        "stream": bytes(15) + b"\x01",
        "seq": secrets.randbelow(2**60),
    }
    details |= changes.pop("details", {})
    return {**row, **changes, "details": orjson.dumps(details).decode()}


def bot_click(ids: ClickIds, account_id: int, campaign_id: int, at: datetime, **changes: Any) -> Row:
    bot = {"class": int(TrafficClass.BOT), "fraud": int(FraudType.BOT), "flags": int(Flag.BOT)}
    return click(ids, account_id, campaign_id, at, **(bot | changes))


def vpn_click(ids: ClickIds, account_id: int, campaign_id: int, at: datetime, **changes: Any) -> Row:
    vpn = {"class": int(TrafficClass.VPN), "fraud": int(FraudType.VPN), "flags": int(Flag.VPN)}
    return click(ids, account_id, campaign_id, at, **(vpn | changes))


async def store_clicks(connection: Connection, rows: Iterable[Row]) -> None:
    """Each row with its delta, as ingest does; `connection` is the owner's."""
    rows = list(rows)
    for day in {row["ts"].date() for row in rows}:
        await connection.execute("SELECT ensure_click_day($1)", day)
    await _insert(connection, "clicks", rows)
    await _insert(
        connection, "click_deltas", [{name: row[name] for name in _DELTA} for row in rows if row["mode"] == 1]
    )


async def store_account(connection: Connection, **changes: Any) -> int:
    """An active account without users; its id."""
    row = {"public_id": f"acc_{secrets.token_hex(12)}", "company_name": "Example", "routing_version": 0} | changes
    return await _returning(connection, "accounts", row)


async def store_user(connection: Connection, account_id: int, email: str, role: str, *, password_hash: str) -> int:
    """A user; its id."""
    row = {"account_id": account_id, "email": email, "name": email, "role": role, "password_hash": password_hash}
    return await _returning(connection, "users", row)


async def store_campaign(connection: Connection, account_id: int, **changes: Any) -> int:
    """An active campaign; its id."""
    row = {
        "account_id": account_id, "uuid": secrets.token_hex(16), "name": "Summer", "status": "active",
        "bot_action": "pass", "attribution_window_hours": 720, "duplicate_mode": "ignore",
        "postback_security": "open", "routing_version": 0,
    } | changes  # fmt: skip
    return await _returning(connection, "campaigns", row)


async def store_rollup(
    connection: Connection, account_id: int, campaign_id: int, bucket: datetime, **sums: Any
) -> None:
    """One row of r15, as fold leaves it, and its part of the account's sums."""
    row = {
        "account_id": account_id, "campaign_id": campaign_id, "bucket": bucket, "basis": 0,
        "class": int(TrafficClass.REAL), "fraud": int(FraudType.NONE), "outcome": int(Outcome.REDIRECTED),
    } | sums  # fmt: skip
    await _insert(connection, "r15", [row])
    await sum_anew(connection, account_id)


async def _returning(connection: Connection, table: str, row: Row) -> int:
    names, places = ", ".join(row), ", ".join(f"${number}" for number in range(1, len(row) + 1))
    number: int = await connection.fetchval(
        f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id", *row.values()
    )
    return number


async def _insert(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    names = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await connection.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({places})", [tuple(row[name] for name in columns) for row in rows]
    )
