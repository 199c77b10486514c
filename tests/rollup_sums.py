"""The one rule of `account_sums`: its rows are those of r15, summed over each account's campaigns, for both spans."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

_SUMS: Final = """
SELECT account_id, span, date_bin(width, bucket, 'epoch') AS bucket, basis, class, fraud, outcome,
       sum(clicks) AS clicks, sum(unique_clicks) AS unique_clicks, sum(click_cost) AS click_cost,
       sum(conversions) AS conversions, sum(pending_conversions) AS pending_conversions,
       sum(rejected_conversions) AS rejected_conversions, sum(revenue) AS revenue,
       sum(pending_revenue) AS pending_revenue, sum(rejected_revenue) AS rejected_revenue,
       sum(conversion_cost) AS conversion_cost
FROM r15 CROSS JOIN (VALUES (15, interval '15 minutes'), (1440, interval '1 day')) AS spans (span, width)
GROUP BY 1, 2, 3, basis, class, fraud, outcome
"""
_DIFFERENCES: Final = f"""
WITH wanted AS ({_SUMS})
SELECT 'missing: ' || missing::text FROM (TABLE wanted EXCEPT TABLE account_sums) AS missing
UNION ALL
SELECT 'too much: ' || wrong::text FROM (TABLE account_sums EXCEPT TABLE wanted) AS wrong
"""


async def account_sum_differences(connection: "Connection") -> list[str]:
    """Rows that are not what r15 adds up to, as text; `connection` is the owner's, who sees every account."""
    return [text for (text,) in await connection.fetch(_DIFFERENCES)]


async def sum_anew(connection: "Connection", account_id: int) -> None:
    """Makes the sums of an account whose rows of r15 a test wrote itself."""
    await connection.execute("DELETE FROM account_sums WHERE account_id = $1", account_id)
    await connection.execute(
        f"INSERT INTO account_sums SELECT * FROM ({_SUMS}) AS sums WHERE account_id = $1", account_id
    )
