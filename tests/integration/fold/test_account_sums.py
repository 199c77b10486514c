"""Covers what is read from the account's own roll-ups: for any range the same figures as by campaign, also while fold
works between two statements. That the roll-ups are the sums of r15 is checked behind every test that folds (conftest)
and, for a database that was in use before they were there, here."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from management.clicks.repository import CLOAKED, ClickFilter
from management.clicks.repository import total as total_clicks
from management.db import migrate as migrating
from management.db.migrate import migrate, migrations
from management.db.pool import Pool, Reading, SoleConnection, open_pool, reading
from management.stats import repository
from management.stats.figures import add_sums
from shared.ids import KeyRing
from tests import postgres
from tests.fold_builders import Person
from tests.integration.fold.conftest import Folding
from tests.integration.fold.facts import Fact, Postback, ensure_days, store_clicks, store_postbacks
from tests.rollup_sums import account_sum_differences

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 4
QUARTER = timedelta(minutes=15)
QUARTERS = DAYS * 96
EVENING = timedelta(hours=18, minutes=15)
RANGES = {
    "whole days": (START, START + timedelta(days=3)),
    "whole days of India": (START - timedelta(hours=5.5), START + timedelta(days=2) - timedelta(hours=5.5)),
    "whole days of Nepal": (START + EVENING, START + timedelta(days=2) + EVENING),
    "a part of a day": (START + timedelta(hours=3), START + timedelta(hours=9)),
    "over a midnight": (START + timedelta(hours=20), START + timedelta(hours=26)),
    "to a midnight": (START + timedelta(hours=20), START + timedelta(hours=24)),
    "from a midnight": (START + timedelta(hours=24), START + timedelta(hours=25)),
    "a quarter of an hour": (START + EVENING, START + EVENING + QUARTER),
    "a day": (START, START + timedelta(days=1)),
    "nothing": (START, START),
}


@pytest.fixture
async def pool(app_url: str) -> AsyncIterator[Pool]:
    async with await open_pool(app_url, application="test", size=2) as pool:
        yield pool


def some_facts(dice: random.Random, count: int) -> tuple[list[Fact], list[Postback]]:
    """Clicks over all quarter hours, many in the first and last of a day; every third has a conversion later on."""
    facts = []
    for _ in range(count):
        edge = dice.randint(0, DAYS) * 96 - dice.randint(0, 1)
        quarter = min(max(dice.choice([edge, dice.randrange(QUARTERS)]), 0), QUARTERS - 1)
        at = START + quarter * QUARTER + timedelta(seconds=dice.uniform(0, 899))
        campaign = dice.randint(1, 5)
        facts.append(
            Fact(
                Person().click(at, campaign_id=campaign),
                campaign_id=campaign,
                traffic_class=dice.randint(1, 3),
                outcome=dice.choice([1, 2, *CLOAKED]),
                cost=dice.randint(0, 10**9),
            )
        )
    calls = [
        Postback(
            fact.click.click_id,
            fact.click.ts + timedelta(hours=dice.uniform(0, 40)),
            campaign_id=fact.campaign_id,
            status=dice.choice(["approved", "pending", "rejected"]),
            payout=Decimal(dice.randint(1, 900)) / 100,
            cost_model="cpa",
            cost_value=Decimal("0.3"),
        )
        for fact in facts[::3]
    ]
    return facts, calls


async def test_any_range_of_the_account_is_the_sum_of_its_campaigns(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, START, DAYS)
    dice = random.Random(5)
    facts, calls = some_facts(dice, 600)
    await store_clicks(owner, facts)
    await store_postbacks(owner, calls)
    while await folding.batch(clicks=150, postbacks=60):
        ranges = list(RANGES.items())
        for _ in range(30):
            first, last = sorted(dice.sample(range(QUARTERS + 1), 2))
            ranges.append((f"{first} to {last}", (START + first * QUARTER, START + last * QUARTER)))
        async with reading(pool, 1) as connection:
            for name, (start, end) in ranges:
                for basis in (0, 1):
                    whole = await repository.figures(connection, 1, None, start, end, basis=basis)
                    parts = await repository.figures_by_campaign(connection, 1, None, start, end, basis=basis)
                    added = add_sums(parts.values())
                    assert whole.total == added.total, name
                    assert all(whole.of(of) == added.of(of) for of in range(4)), name
                inside = [fact for fact in facts if start <= fact.click.ts < end]
                counted = [
                    (await total_clicks(connection, asked)).rows
                    for asked in (
                        ClickFilter(1, start=start, end=end),
                        ClickFilter(1, start=start, end=end, traffic_class=2),
                        ClickFilter(1, start=start, end=end, cloaked=True),
                        ClickFilter(1, campaign_id=3, start=start, end=end),
                        ClickFilter(1, start=start),
                        ClickFilter(1, end=end),
                        ClickFilter(1),
                    )
                ]
                assert counted == [
                    len(inside),
                    sum(fact.traffic_class == 2 and fact.outcome not in CLOAKED for fact in inside),
                    sum(fact.outcome in CLOAKED for fact in inside),
                    sum(fact.campaign_id == 3 for fact in inside),
                    sum(fact.click.ts >= start for fact in facts),
                    sum(fact.click.ts < end for fact in facts),
                    len(facts),
                ], name


class FoldedMeanwhile:
    """A tenant's connection; fold takes everything over behind its first question."""

    def __init__(self, connection: Reading, folding: Folding) -> None:
        self._connection = connection
        self._folding = folding

    async def fetch(self, *question: Any) -> Any:
        rows = await self._connection.fetch(*question)
        await self._folding.all()
        return rows


@pytest.mark.parametrize("campaigns", [None, [1, 2, 3, 4, 5]])
async def test_figures_are_of_one_instant_while_fold_takes_over_what_waited(
    owner: SoleConnection, folding: Folding, pool: Pool, campaigns: list[int] | None
) -> None:
    await ensure_days(owner, START, DAYS)
    facts, calls = some_facts(random.Random(6), 90)
    await store_clicks(owner, facts)
    await store_postbacks(owner, calls)
    span = START, START + timedelta(days=DAYS + 2)
    async with reading(pool, 1) as connection:
        meanwhile: Any = FoldedMeanwhile(connection, folding)
        found = await repository.figures(meanwhile, 1, campaigns, *span)
    assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 0
    async with reading(pool, 1) as connection:
        after = await repository.figures(connection, 1, campaigns, *span)
    assert found == after
    assert (found.total.clicks, found.total.unique_clicks) == (90, 90)
    assert found.total.conversions + found.total.pending_conversions + found.total.rejected_conversions == 30


async def test_a_database_in_use_gets_the_sums_of_what_is_there(
    plain_owner_url: str, server_url: str, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: every[:8])
        await migrate(plain_owner_url, ring)
    past_policies = await asyncpg.connect(postgres.database_url(server_url, plain_owner_url.rpartition("/")[2]))
    await past_policies.execute(
        "INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, clicks, click_cost, revenue)"
        " SELECT 1 + n % 2, n % 3, $1::timestamptz + n % 400 * interval '15 minutes', n / 400 % 2, 1 + n / 800, 0, 1, n,"
        " n / 7.0, n * 0.01 FROM generate_series(0, 2399) AS n",
        START,
    )
    assert "0009_account_sums.sql" in await migrate(plain_owner_url, ring)
    assert await past_policies.fetchval("SELECT count(*) FROM account_sums WHERE span = 1440") == 2 * 5 * 2 * 3
    assert await account_sum_differences(past_policies) == []
    forced = "SELECT relforcerowsecurity FROM pg_class WHERE relname = 'r15'"
    assert await past_policies.fetchval(forced)
    await past_policies.close()
