"""Covers the life of `milepost fold`: kill -9 in mid-batch, another process taking over, Postgres going away, SIGTERM.
What it folds to is in test_any_order.py; the lease itself in integration/db."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from management.db.lease import Lease, LeaseLost
from management.db.pool import SoleConnection, connect
from management.fold import loop
from shared.ids import KeyRing
from tests.fold_builders import Person
from tests.integration.fold.conftest import Folding
from tests.integration.fold.facts import (
    Fact,
    Postback,
    conversions,
    ensure_days,
    rollups,
    store_clicks,
    store_postbacks,
)
from tests.integration.fold.process import fold_process
from tests.rollup_sums import account_sum_differences

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

FROM_ROWS = """
SELECT campaign_id, bucket, basis, class, fraud, outcome, sum(clicks), sum(uniques), sum(cost), sum(made), 0, 0,
       sum(revenue), 0, 0, 0
FROM (
    SELECT campaign_id, date_bin('15 minutes', ts, 'epoch') AS bucket, 0 AS basis, click.class, click.fraud,
           click.outcome, 1 AS clicks, label.is_unique::int AS uniques, cost, 0 AS made, 0 AS revenue
    FROM clicks AS click JOIN click_labels AS label USING (account_id, campaign_id, visitor_key, ts, click_id)
    UNION ALL
    SELECT call.campaign_id, date_bin('15 minutes', CASE basis WHEN 0 THEN call.ts ELSE click.ts END, 'epoch'), basis,
           click.class, click.fraud, click.outcome, 0, 0, 0, 1, call.payout
    FROM postbacks AS call JOIN clicks AS click USING (account_id, click_id) CROSS JOIN generate_series(0, 1) AS basis
) AS rows
GROUP BY campaign_id, bucket, basis, class, fraud, outcome
"""


def crowd(dice: random.Random, clicks: int) -> list[Fact]:
    people = [Person() for _ in range(clicks // 3)]
    return [
        Fact(
            dice.choice(people).click(NOON + timedelta(seconds=dice.uniform(0, 40_000))),
            campaign_id=dice.randint(1, 3),
            traffic_class=dice.randint(1, 3),
            cost=500_000_000,
        )
        for _ in range(clicks)
    ]


OF_FOLD = "application_name = 'milepost fold'"
AT_A_LOCK = "wait_event_type = 'Lock'"


def calls_for(facts: list[Fact]) -> list[Postback]:
    return [Postback(fact.click.click_id, NOON, campaign_id=fact.campaign_id, payout=Decimal(1)) for fact in facts]


async def until(done: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await done():
                return
            await asyncio.sleep(0.02)


async def test_kill_9_in_mid_batch_leaves_rollups_equal_to_what_the_rows_say(
    owner: SoleConnection, database_url: str, ring: KeyRing, tmp_path: Path
) -> None:
    dice = random.Random(9)
    await ensure_days(owner, NOON, 2)
    killed_at_work = 0

    async def deltas() -> int:
        left: int = await owner.fetchval(
            "SELECT (SELECT count(*) FROM click_deltas) + (SELECT count(*) FROM postback_deltas)"
        )
        return left

    for _ in range(8):
        facts = crowd(dice, 12_000)
        await store_clicks(owner, facts)
        await store_postbacks(owner, calls_for(facts[:150]))
        async with fold_process(database_url, ring, tmp_path) as process:
            await process.says("lease_taken")
            await asyncio.sleep(dice.uniform(0, 0.4))
            working = await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost fold' AND xact_start IS NOT NULL"
            )
            assert await process.ends(signal.SIGKILL) == -signal.SIGKILL
            killed_at_work += working
    assert killed_at_work >= 3, "the kills missed the batches"

    async with fold_process(database_url, ring, tmp_path) as process:

        async def folded() -> bool:
            return await deltas() == 0

        await until(folded)
        assert await process.ends(signal.SIGTERM) == 0
    expected = {tuple(row) for row in await owner.fetch(FROM_ROWS)}
    assert await owner.fetchval("SELECT count(*) FROM click_labels") == 8 * 12_000
    assert await owner.fetchval("SELECT sum(conversions) FROM r15 WHERE basis = 0") == 8 * 150
    assert await rollups(owner, 1) == expected
    assert await account_sum_differences(owner) == []


@pytest.mark.parametrize("table", ["r15", "account_sums", "conversions", "postbacks"])
async def test_kill_9_between_any_two_writes_of_a_batch_leaves_nothing_half_done(
    owner: SoleConnection, database_url: str, ring: KeyRing, tmp_path: Path, table: str
) -> None:
    """A lock on one of the tables that a batch writes holds it there for as long as the kill takes."""
    await ensure_days(owner, NOON, 2)
    facts = crowd(random.Random(2), 300)
    await store_clicks(owner, facts)
    await store_postbacks(owner, calls_for(facts[:20]))
    locking = await asyncpg.connect(database_url)

    async def at_the_lock() -> bool:
        return bool(await owner.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {OF_FOLD} AND {AT_A_LOCK}"))

    async def gone() -> bool:
        return not await owner.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {OF_FOLD}")

    async with fold_process(database_url, ring, tmp_path) as process:
        async with locking.transaction():
            await locking.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            await until(at_the_lock)
            await process.ends(signal.SIGKILL)
        await until(gone)
    await locking.close()
    assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 300
    assert await owner.fetchval("SELECT count(*) FROM postback_deltas") == 20
    assert (await rollups(owner, 1), await conversions(owner, 1)) == (set(), [])
    async with fold_process(database_url, ring, tmp_path) as process:
        await process.says("lease_taken")
        assert await process.ends(signal.SIGTERM) == 0
    assert await rollups(owner, 1) == {tuple(row) for row in await owner.fetch(FROM_ROWS)}
    assert await account_sum_differences(owner) == []
    assert len(await conversions(owner, 1)) == 20


NOTE_COMMITS = """
CREATE TABLE noted (setting text);
GRANT INSERT ON noted TO milepost_ingest;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO noted VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE ON r15 DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION note();
"""
"""A deferred trigger runs inside the commit, and sees how this one is made."""


async def test_only_batches_with_conversions_wait_for_the_disk(owner: SoleConnection, folding: Folding) -> None:
    await ensure_days(owner, NOON, 2)
    facts = crowd(random.Random(3), 30)
    await owner.execute(NOTE_COMMITS)
    await store_clicks(owner, facts)
    await folding.all()
    assert await owner.fetchval("SELECT array_agg(DISTINCT setting) FROM noted") == ["off"]
    await owner.execute("TRUNCATE noted")
    await store_postbacks(owner, calls_for(facts[:5]))
    await folding.all()
    assert await owner.fetchval("SELECT array_agg(DISTINCT setting) FROM noted") == ["on"]


async def test_who_lost_the_lease_changes_nothing_more(
    owner: SoleConnection, folding: Folding, ingest_url: str
) -> None:
    await ensure_days(owner, NOON, 1)
    await store_clicks(owner, [Fact(Person().click(NOON))])
    heir = await connect(ingest_url, application="heir")
    late = await connect(ingest_url, application="late")
    await Lease.take(heir, "fold")
    with pytest.raises(LeaseLost):
        await Folding(late, folding.lease).batch()
    assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 1
    assert await rollups(owner, 1) == set()
    await heir.close()
    await late.close()


async def test_a_process_whose_lease_is_taken_ends_with_status_3_and_one_sentence(
    database_url: str, ingest_url: str, ring: KeyRing, tmp_path: Path
) -> None:
    async with fold_process(database_url, ring, tmp_path) as process:
        await process.says("lease_taken")
        heir = await connect(ingest_url, application="heir")
        await Lease.take(heir, "fold")
        assert await process.ends() == 3
        assert "another process took the lease" in process.log.splitlines()[-1]
        await heir.close()


async def test_a_second_process_waits_and_takes_over_when_the_first_dies(
    owner: SoleConnection, database_url: str, ring: KeyRing, tmp_path: Path
) -> None:
    await ensure_days(owner, NOON, 1)
    async with fold_process(database_url, ring, tmp_path) as first:
        await first.says("lease_taken")
        async with fold_process(database_url, ring, tmp_path) as second:
            await second.says("waiting_for_lease")
            await first.ends(signal.SIGKILL)
            await second.says("lease_taken")
            await store_clicks(owner, [Fact(Person().click(NOON))])

            async def folded() -> bool:
                return bool(await rollups(owner, 1))

            await until(folded)
            assert await second.ends(signal.SIGTERM) == 0


async def test_a_lost_connection_is_made_again(
    owner: SoleConnection, ingest_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and without pauses, because what asyncpg raises depends on which statement is under way, or
    between which two the backend ends; that is tried often enough to meet all of it."""
    await ensure_days(owner, NOON, 1)
    monkeypatch.setattr(loop, "IDLE_SECONDS", 0.0005)
    stop = asyncio.Event()
    folder = asyncio.create_task(loop.Folder(ingest_url, stop).run())
    for number in range(1, 21):
        await store_clicks(owner, [Fact(Person().click(NOON))])

        async def folded(expected: int = number) -> bool:
            assert not folder.done(), "gave up"
            return bool(await owner.fetchval("SELECT sum(clicks) = $1 FROM r15", expected))

        await until(folded)
        await owner.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OF_FOLD}")
    stop.set()
    assert await folder == 0


async def test_sigterm_folds_what_is_there(
    owner: SoleConnection, database_url: str, ring: KeyRing, tmp_path: Path
) -> None:
    await ensure_days(owner, NOON, 2)
    async with fold_process(database_url, ring, tmp_path) as process:
        await process.says("lease_taken")
        await store_clicks(owner, crowd(random.Random(1), 25_000))
        assert await process.ends(signal.SIGTERM) == 0
    assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 0
    assert await owner.fetchval("SELECT sum(clicks) FROM r15") == 25_000
