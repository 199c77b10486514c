"""Covers that what Postgres ends up with depends on the set of facts alone: labels, conversions, decisions and roll-ups
are the same for any order of arrival and any cut into batches. The rules themselves are in unit/fold.

Each way of arriving is an account of its own with the same facts, so the ways also run through one another.
"""

import random
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from management.db.pool import SoleConnection
from management.fold.labels import Click
from management.fold.rollups import bucket_of
from shared.postback import STATUSES
from shared.traffic import Flag
from tests.fold_builders import Person
from tests.integration.fold.conftest import Folding
from tests.integration.fold.facts import (
    Fact,
    Postback,
    conversions,
    decisions,
    ensure_days,
    rollups,
    store_clicks,
    store_postbacks,
    unique_clicks,
)
from tests.rollup_sums import account_sum_differences

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 6
WAYS = 5


def of_account(fact: Fact, account_id: int) -> Fact:
    return replace(fact, click=fact.click._replace(account_id=account_id))


def some_clicks(dice: random.Random) -> dict[Person, list[Fact]]:
    """A few people with chains over several days, many around midnight and exactly 24 hours apart."""
    found: dict[Person, list[Fact]] = {}
    for person in [Person() for _ in range(dice.randint(1, 8))]:
        campaign_id = dice.randint(1, 2)
        found[person] = [
            Fact(
                person.click(
                    START
                    + timedelta(
                        hours=dice.choice([dice.uniform(0, 24 * DAYS - 1), dice.randint(0, 2 * DAYS - 1) * 12])
                    ),
                    flags=int(Flag.PREVIEW) if dice.random() < 0.15 else 0,
                ),
                campaign_id=campaign_id,
                traffic_class=dice.choice([1, 2, 3]),
                fraud=dice.choice([0, 1, 3]),
                outcome=dice.choice([1, 2]),
                cost=dice.choice([0, 500_000_000, 1_234_567]),
                cost_from=dice.randint(0, 1),
            )
            for _ in range(dice.randint(1, 12))
        ]
    return found


def unique_by_definition(clicks: list[Click]) -> set[bytes]:
    found: set[bytes] = set()
    opened: datetime | None = None
    for click in sorted(clicks, key=lambda click: (click.ts, click.click_id)):
        if not click.flags & int(Flag.PREVIEW) and (opened is None or click.ts - opened >= timedelta(hours=24)):
            opened = click.ts
            found.add(click.click_id)
    return found


def rollups_by_definition(facts: list[Fact], unique: set[bytes]) -> set[tuple[Any, ...]]:
    rows: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for fact in facts:
        row = rows[fact.campaign_id, bucket_of(fact.click.ts), 0, fact.traffic_class, fact.fraud, fact.outcome]
        row.update(clicks=1, unique=fact.click.click_id in unique, cost=fact.cost)
    return {(*key, row["clicks"], row["unique"], row["cost"], *[0] * 7) for key, row in rows.items()}


async def test_clicks_in_any_order_and_any_batches_end_up_the_same(owner: SoleConnection, folding: Folding) -> None:
    await ensure_days(owner, START, DAYS)
    for seed in range(25):
        dice = random.Random(seed)
        people = some_clicks(dice)
        facts = [fact for those in people.values() for fact in those]
        accounts = range(seed * WAYS + 1, seed * WAYS + 1 + WAYS)
        arrivals = [(dice.random(), of_account(fact, account)) for fact in facts for account in accounts]
        waiting = [fact for _, fact in sorted(arrivals, key=lambda arrival: arrival[0])]
        while waiting:
            size = dice.choice([1, 3, 10, 60, 400])
            await store_clicks(owner, waiting[:size])
            del waiting[:size]
            if dice.random() < 0.6:
                await folding.batch(clicks=dice.choice([1, 2, 7, 50, 500]))
        await folding.all()
        unique = set[bytes]().union(
            *(unique_by_definition([fact.click for fact in those]) for those in people.values())
        )
        for account in accounts:
            assert await unique_clicks(owner, account) == unique, f"seed {seed}"
            assert await rollups(owner, account) == rollups_by_definition(facts, unique), f"seed {seed}"
        assert await owner.fetchval("SELECT count(*) FROM click_deltas") == 0
        assert await account_sum_differences(owner) == [], f"seed {seed}"


def some_calls(dice: random.Random, facts: list[Fact]) -> list[Postback]:
    return [
        Postback(
            click_id=dice.choice(facts).click.click_id,
            arrived_at=START + timedelta(minutes=dice.randint(0, 300)),
            transaction_id=dice.choice(["", "a"]),
            status=dice.choice([*STATUSES, "approved"]),
            payout=dice.choice([None, Decimal(10), Decimal("7.25")]),
            default_payout=dice.choice([None, Decimal(3)]),
            event_time=dice.choice([None, START + timedelta(minutes=dice.randint(0, 3))]),
            trusted=dice.random() < 0.7,
            duplicate_mode=dice.choice(["ignore", "update", "add"]),
            cost_model=dice.choice(["cpa", "revshare"]),
            cost_value=Decimal("12.5"),
        )
        for _ in range(dice.randint(1, 14))
    ]


async def test_postbacks_and_clicks_in_any_order_end_up_the_same(owner: SoleConnection, folding: Folding) -> None:
    await ensure_days(owner, START, DAYS)
    number = 0
    for seed in range(20):
        dice = random.Random(seed)
        facts = [fact for those in some_clicks(dice).values() for fact in those][:6]
        campaign_of = {fact.click.click_id: fact.campaign_id for fact in facts}
        calls = some_calls(dice, facts)
        base, number = number, number + len(calls)
        accounts = range(1_000 + seed * WAYS, 1_000 + seed * WAYS + WAYS)
        arrivals: list[tuple[float, Fact | Postback]] = []
        for account in accounts:
            arrivals += [(dice.random(), of_account(fact, account)) for fact in facts]
            arrivals += [
                (
                    dice.random(),
                    replace(call, account_id=account, campaign_id=campaign_of[call.click_id], number=base + place),
                )
                for place, call in enumerate(calls, 1)
            ]
        for _, fact in sorted(arrivals, key=lambda arrival: arrival[0]):
            if isinstance(fact, Fact):
                await store_clicks(owner, [fact])
            else:
                await store_postbacks(owner, [fact])
            if dice.random() < 0.4:
                await folding.batch(clicks=dice.choice([1, 2, 50]), postbacks=dice.choice([1, 2, 50]))
        await folding.all()

        ends = []
        for account in accounts:
            made = [
                tuple(value for name, value in row.items() if name not in ("account_id", "id", "number", "updated_at"))
                for row in await conversions(owner, account)
            ]
            ends.append((sorted(made, key=str), await rollups(owner, account), await decisions(owner, account)))
        assert all(end == ends[0] for end in ends), f"seed {seed}"
        assert all(reason in (0, 1, 2, 23, 33) for reason in ends[0][2].values()), (
            "a click is here, and one waits for it"
        )
        assert await owner.fetchval("SELECT count(*) FROM conversions WHERE NOT attached") == 0
        assert await account_sum_differences(owner) == [], f"seed {seed}"
