"""Compares what clients were answered with what Postgres holds, and every figure with its rows."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.ids import click_id_bytes
from tests.faults.load import PAYOUT, Ledger
from tests.rollup_sums import account_sum_differences

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]


@dataclass(frozen=True)
class Verdict:
    """Counts; all but `stored` and `answered` must be 0. `spurious`: stored beyond answered and unanswered sends."""

    answered: int
    stored: int
    missing: int
    duplicated: int
    spurious: int
    conversions_missing: int
    conversions_spurious: int
    rollup_differences: int
    label_differences: int
    not_folded: int
    dead_letters: int
    lost: int
    books_difference: int

    def faults(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if name not in ("answered", "stored") and value}


async def judge(connection: "Connection", campaign_id: int, ledger: Ledger) -> Verdict:
    """Everything must be drained: no delta left, journals read to their ends."""
    rows = await connection.fetch("SELECT click_id FROM clicks WHERE campaign_id = $1", campaign_id)
    stored = [row["click_id"] for row in rows]
    distinct = set(stored)
    answered = {click_id_bytes(text) for text in ledger.clicks}
    converted = {click_id_bytes(text) for text in ledger.conversions}
    uncertain = {click_id_bytes(text) for text in ledger.unanswered_postbacks}
    conversions = {
        row["click_id"]
        for row in await connection.fetch("SELECT click_id FROM conversions WHERE campaign_id = $1", campaign_id)
    }
    return Verdict(
        answered=len(ledger.clicks),
        stored=len(stored),
        missing=len(answered - distinct),
        duplicated=len(stored) - len(distinct) + len(ledger.clicks) - len(answered),
        spurious=max(0, len(distinct - answered) - ledger.unanswered_clicks),
        conversions_missing=len(converted - conversions),
        conversions_spurious=len(conversions - converted - uncertain),
        rollup_differences=await _rollup_differences(connection, campaign_id, len(conversions)),
        label_differences=await connection.fetchval(_LABELS, campaign_id),
        not_folded=await connection.fetchval(
            "SELECT (SELECT count(*) FROM click_deltas) + (SELECT count(*) FROM postback_deltas)"
        ),
        dead_letters=await connection.fetchval("SELECT count(*) FROM dead_letters"),
        lost=await connection.fetchval("SELECT count(*) FROM lost_records"),
        books_difference=await connection.fetchval("SELECT records FROM books_difference"),
    )


# Clicks without a label, labels without a click, and openings closer than a day to the opening before.
_LABELS = """
SELECT (SELECT count(*) FROM clicks c FULL JOIN click_labels l USING (account_id, click_id, ts)
        WHERE coalesce(c.campaign_id, l.campaign_id) = $1 AND (c.click_id IS NULL OR l.click_id IS NULL))
     + (SELECT count(DISTINCT visitor_key) - count(*) FILTER (WHERE is_unique)
        FROM click_labels WHERE campaign_id = $1)
"""

_ROLLUPS = """
SELECT bucket, class, fraud, outcome, sum(clicks) AS clicks, sum(click_cost) AS cost
FROM r15 WHERE campaign_id = $1 AND basis = 0
GROUP BY 1, 2, 3, 4 HAVING sum(clicks) > 0
"""

_ROWS = """
SELECT to_timestamp(floor(extract(epoch FROM ts) / 900) * 900) AS bucket, class, fraud, outcome,
       count(*) AS clicks, sum(cost) AS cost
FROM clicks WHERE campaign_id = $1 AND mode = 1
GROUP BY 1, 2, 3, 4
"""


async def _rollup_differences(connection: "Connection", campaign_id: int, conversions: int) -> int:
    rollups = {tuple(row.values()) for row in await connection.fetch(_ROLLUPS, campaign_id)}
    rows = {tuple(row.values()) for row in await connection.fetch(_ROWS, campaign_id)}
    uniques: int = await connection.fetchval(
        "SELECT abs((SELECT coalesce(sum(unique_clicks), 0) FROM r15 WHERE campaign_id = $1 AND basis = 0)"
        " - (SELECT count(*) FROM click_labels WHERE campaign_id = $1 AND is_unique))::integer",
        campaign_id,
    )
    differences = len(rollups ^ rows) + uniques + len(await account_sum_differences(connection))
    for basis in (0, 1):
        (sums,) = await connection.fetch(
            "SELECT coalesce(sum(conversions), 0) AS counted, coalesce(sum(revenue), 0) AS revenue FROM r15"
            " WHERE campaign_id = $1 AND basis = $2 AND class <> 0",
            campaign_id,
            basis,
        )
        differences += abs(int(sums["counted"]) - conversions) + (sums["revenue"] != conversions * Decimal(PAYOUT))
    return differences
