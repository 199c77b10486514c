"""Covers that what the benchmarks put into Postgres in fold's place is what fold would have made of the same clicks."""

from datetime import UTC, datetime, timedelta

import asyncpg

from benchmarks.filling import FOLDED, WAITING, Clicks, Filler
from management.db.lease import Lease
from management.db.pool import connect
from management.fold.batch import fold_batch
from tests.builders import store_account

DAY = datetime(2026, 11, 20, tzinfo=UTC)
LABELS = "SELECT * FROM click_labels ORDER BY ts, click_id"
ROLLUPS = "SELECT * FROM r15 ORDER BY campaign_id, bucket, class, fraud"
SUMS = "SELECT * FROM account_sums ORDER BY span, bucket, class, fraud"


async def test_fold_makes_the_same_labels_and_rollups(database_url: str, ingest_url: str) -> None:
    owner, ingest = await asyncpg.connect(database_url), await connect(ingest_url, application="test")
    try:
        filler = await Filler.open(owner)
        account = await store_account(owner)
        first = await filler.campaigns(account, 7)
        runs = [
            Clicks(DAY + timedelta(days=day), 86_400, 4_000 * number, 4_000, account, first, 7)
            for number, day in enumerate((0, 1, 0))  # one day is filled twice
        ]

        async def fill(statements: tuple[str, ...]) -> None:
            for clicks in runs:
                await filler.day(clicks.since)
                for chunk in ((clicks.first, clicks.first + 1_999), (clicks.first + 2_000, clicks.first + 3_999)):
                    await filler.fill(clicks, statements, *chunk)

        await fill(FOLDED)
        labels, rollups, sums = await owner.fetch(LABELS), await owner.fetch(ROLLUPS), await owner.fetch(SUMS)
        await owner.execute("TRUNCATE clicks, click_labels, r15, account_sums")
        await fill(WAITING)
        lease = await Lease.take(ingest, "fold")
        while await fold_batch(ingest, lease):
            pass

        assert await owner.fetch(LABELS) == labels
        assert await owner.fetch(ROLLUPS) == rollups
        assert await owner.fetch(SUMS) == sums != []
        assert len(labels) == sum(row["clicks"] for row in rollups) == 12_000
        assert sum(row["unique_clicks"] for row in rollups) == 9_000
    finally:
        await owner.close()
        ingest.terminate()
