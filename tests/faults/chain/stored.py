"""Fetches what the judge compares out of Postgres, as its owner."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.faults.chain.facts import Label, Rollup, Stored, StoredClick, StoredConversion
from tests.faults.chain.system import System
from tests.rollup_sums import account_sum_differences

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

_CLICKS: Final = """
SELECT click_id, campaign_id, ts, mode, class, fraud, outcome, cost, ip,
       details->'subs'->>'sub1', details->'subs'->>'sub2', details->>'external_id', details->>'user_agent',
       details->>'language', details->>'location'
FROM clicks
"""
_CONVERSIONS: Final = """
SELECT click_id, campaign_id, transaction_id, status, payout, class, fraud, outcome, converted_at FROM conversions
"""
_POSTBACKS: Final = "SELECT transaction_id, count(*) FROM postbacks WHERE reason = 0 GROUP BY 1"
_ROLLUPS: Final = """
SELECT campaign_id, bucket, basis, class, fraud, outcome, sum(clicks), sum(unique_clicks), sum(click_cost),
       sum(conversions), sum(revenue)
FROM r15 GROUP BY 1, 2, 3, 4, 5, 6
HAVING (sum(clicks), sum(unique_clicks), sum(click_cost), sum(conversions), sum(revenue)) <> (0, 0, 0, 0, 0)
"""
_LOST: Final = """
SELECT (SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM lost_records)
     + (SELECT coalesce(sum(clicks), 0) FROM declared_losses)
"""
_NOT_FOLDED: Final = """
SELECT (SELECT count(*) FROM click_deltas) + (SELECT count(*) FROM postback_deltas)
     + (SELECT count(*) FROM conversions WHERE NOT attached)
"""


class Counts(NamedTuple):
    """Rows, to see whether anything still moves."""

    clicks: int
    postbacks: int
    dead_letters: int
    not_folded: int


async def counts(system: System) -> Counts:
    """Raises what `management.db.pool.UNREACHABLE` lists."""
    async with system.database(seconds=30.0) as connection:
        (row,) = await connection.fetch(
            f"SELECT (SELECT count(*) FROM clicks), (SELECT count(*) FROM postbacks),"
            f" (SELECT count(*) FROM dead_letters), ({_NOT_FOLDED})"
        )
    return Counts(*row)


async def read(connection: "Connection", campaigns: Sequence[int]) -> Stored:
    """In one snapshot."""
    stored = Stored(campaigns)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for click_id, campaign, ts, mode, *rest in connection.cursor(_CLICKS, prefetch=5_000):
            verdict, cost, ip, sub1, sub2, external, agent, language, location = tuple(rest[:3]), *rest[3:]
            stored.clicks.append(
                StoredClick(
                    click_id,
                    campaign,
                    ts,
                    mode,
                    verdict,
                    cost,
                    sub1 or "",
                    sub2,
                    external,
                    agent,
                    language,
                    ip,
                    location,
                )
            )
        async for row in connection.cursor("SELECT click_id, is_unique FROM click_labels", prefetch=5_000):
            stored.labels.append(Label(*row))
        stored.postbacks = Counter({name: calls for name, calls in await connection.fetch(_POSTBACKS)})
        for click_id, campaign, transaction, status, paid, *labels, converted_at in await connection.fetch(
            _CONVERSIONS
        ):
            stored.conversions.append(
                StoredConversion(click_id, campaign, transaction, status, paid, tuple(labels), converted_at)
            )
        for campaign, bucket, basis, *rest in await connection.fetch(_ROLLUPS):
            stored.rollups[Rollup(campaign, bucket, basis, tuple(rest[:3]))] = tuple(map(Decimal, rest[3:]))
        stored.account_differences = await account_sum_differences(connection)
        stored.dead_letters = [tuple(row) for row in await connection.fetch("SELECT stream, seq FROM dead_letters")]
        stored.lost = int(await connection.fetchval(_LOST))
        stored.not_folded = await connection.fetchval(_NOT_FOLDED)
    return stored
