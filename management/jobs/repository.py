"""What jobs reads and writes in Postgres, as milepost_ingest: it works for every account."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from management.campaigns.routing import Row, account_row, campaign_row
from management.db.pool import SoleConnection
from management.db.queries import Queries
from shared.campaigns import AccountRow, CampaignRow

queries = Queries("management.jobs", "queries.sql")
SALT_DAYS_AHEAD = 2
STRANGER_ROWS = 200_000
STRANGER_AGE = timedelta(days=30)
STRANGERS_AT_ONCE = 50_000
"""What one sweep deletes: more than many edges may store between two, and little enough not to hold up the rest."""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Everything edges are told, in one snapshot. `salts`: UTC day → hex."""

    version: int
    campaigns: dict[int, CampaignRow]
    accounts: dict[int, AccountRow]
    salts: dict[str, str]


async def routing_version(connection: SoleConnection) -> int:
    version: int = await connection.fetchval(queries["routing_version"])
    return version


async def routing_table(connection: SoleConnection) -> RoutingTable:
    """The whole table as of one version."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        version = await routing_version(connection)
        campaigns = await connection.fetch(queries["campaigns_for_edges"])
        accounts = await connection.fetch(queries["accounts_for_edges"])
        salts = await connection.fetch(queries["salts"])
    return RoutingTable(
        version,
        {row["id"]: campaign_row(row) for row in campaigns},
        {row["id"]: account_row(row) for row in accounts},
        _texts(salts),
    )


def _texts(salts: Iterable[Row]) -> dict[str, str]:
    return {row["day"].isoformat(): row["salt"].hex() for row in salts}


@dataclass(frozen=True, slots=True)
class RoutingChanges:
    """Everything that changed since a version, in one snapshot; `salts` are all of them."""

    version: int
    rows: list[CampaignRow | AccountRow]
    salts: dict[str, str]


async def routing_changes(connection: SoleConnection, since: int, limit: int) -> RoutingChanges:
    """What changed after version `since`; at least `limit` rows when there are so many."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        version = await routing_version(connection)
        campaigns = await connection.fetch(queries["changed_campaigns"], since, limit)
        accounts = await connection.fetch(queries["changed_accounts"], since, limit)
        salts = await connection.fetch(queries["salts"])
    rows: list[CampaignRow | AccountRow] = [*map(account_row, accounts), *map(campaign_row, campaigns)]
    return RoutingChanges(version, rows, _texts(salts))


async def keep_salts(connection: SoleConnection, today: date) -> bool:
    """Make the salts from yesterday to two days ahead, forget older ones; True when anything changed.

    Yesterday's is made too on a fresh installation: every click carries the key under both.
    """
    changed = False
    async with connection.transaction():
        for offset in range(-1, SALT_DAYS_AHEAD + 1):
            day = today + timedelta(days=offset)
            changed |= await connection.fetchval(queries["add_salt"], day, secrets.token_bytes(32)) is not None
        changed |= bool(await connection.fetch(queries["forget_salts"], today - timedelta(days=1)))
        if changed:
            await connection.fetchval(queries["raise_routing_version"])
    return changed


async def keep_days(connection: SoleConnection, today: date) -> None:
    """Today's and tomorrow's partitions, before the first click needs them."""
    for offset in (0, 1):
        await connection.execute(queries["ensure_click_day"], today + timedelta(days=offset))


async def forget_strangers(connection: SoleConnection) -> None:
    """The newest STRANGER_ROWS stay, none longer than STRANGER_AGE: what anybody may send must not fill Postgres."""
    await connection.execute(queries["forget_strangers"], STRANGER_ROWS, STRANGER_AGE, STRANGERS_AT_ONCE)
