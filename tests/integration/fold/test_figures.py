"""Covers figures out of Postgres: the same before and after folding, right for the contract's arithmetic, walled off by
account. The formulas are in unit/stats."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from management.db.pool import Pool, SoleConnection, open_pool, reading
from management.stats import repository
from management.stats.figures import Figures, Sums
from shared.postback import ACCEPTED, DUPLICATE, SUSPENDED_ACCOUNT, WAITING
from shared.traffic import Flag
from tests.fold_builders import Person
from tests.integration.fold.conftest import Folding
from tests.integration.fold.facts import (
    Fact,
    Postback,
    conversions,
    decisions,
    ensure_days,
    store_clicks,
    store_deltas,
    store_postbacks,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = (NOON - timedelta(hours=12), NOON + timedelta(hours=12))
HALF = 500_000_000


@pytest.fixture
async def pool(app_url: str) -> AsyncIterator[Pool]:
    async with await open_pool(app_url, application="test", size=2) as pool:
        yield pool


async def figures(
    pool: Pool,
    *,
    account_id: int = 1,
    campaign_ids: list[int] | None = None,
    span: tuple[datetime, datetime] = DAY,
    basis: int = 0,
) -> Sums:
    async with reading(pool, account_id) as connection:
        return await repository.figures(connection, account_id, campaign_ids, *span, basis=basis)


def three_hundred_clicks() -> list[Fact]:
    """200 real, 60 bot, 40 vpn at 0.50; 250 people, 50 of whom come twice."""
    people = [Person() for _ in range(250)]
    visitors = [*people, *people[:50]]
    classes = [1] * 200 + [2] * 60 + [3] * 40
    return [
        Fact(person.click(NOON + timedelta(seconds=place)), traffic_class=traffic_class, cost=HALF)
        for place, (person, traffic_class) in enumerate(zip(visitors, classes, strict=True))
    ]


async def test_three_hundred_clicks_add_up_as_the_contract_says(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON, 1)
    facts = three_hundred_clicks()
    await store_clicks(owner, facts)
    await store_postbacks(
        owner,
        [
            Postback(fact.click.click_id, NOON + timedelta(minutes=1), payout=Decimal(45), cost_model="cpc")
            for fact in facts[:9]
        ],
    )
    before = Figures(await figures(pool)).as_fields()
    await folding.all()
    after = Figures(await figures(pool)).as_fields()
    assert list(after.items())[:12] == [
        ("clicks", 300),
        ("unique_clicks", 250),
        ("real_clicks", 200),
        ("bot_clicks", 60),
        ("vpn_clicks", 40),
        ("conversions", 9),
        ("revenue", Decimal(405)),
        ("cost", Decimal(150)),
        ("profit", Decimal(255)),
        ("roi", Decimal(170)),
        ("cr", Decimal("4.5")),
        ("epc", Decimal("1.35")),
    ]
    assert before == after


async def test_figures_are_the_same_before_half_way_and_after_folding(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON - timedelta(days=1), 2)
    regular = Person()
    await store_clicks(owner, [Fact(regular.click(NOON - timedelta(hours=13)), cost=HALF)])
    await folding.all()
    preview = Fact(Person().click(NOON, flags=int(Flag.PREVIEW)), traffic_class=2, cost=HALF)
    facts = [
        Fact(regular.click(NOON - timedelta(hours=11)), cost=HALF),
        Fact(regular.click(NOON + timedelta(hours=11, minutes=30)), cost=HALF, campaign_id=2),
        Fact(Person().click(NOON), cost=1_234_567, traffic_class=3),
        preview,
    ]
    await store_clicks(owner, facts)
    calls = [
        Postback(facts[2].click.click_id, NOON, payout=Decimal(8), cost_model="revshare", cost_value=Decimal(25)),
        Postback(facts[0].click.click_id, NOON, status="pending", payout=Decimal(3)),
        Postback(facts[1].click.click_id, NOON, campaign_id=2, status="rejected", default_payout=Decimal(5)),
        Postback(facts[3].click.click_id, NOON, trusted=False, cost_model="cpa", cost_value=Decimal("1.5")),
        Postback(facts[3].click.click_id, NOON, trusted=False, status="rejected", event="other"),
    ]
    await store_postbacks(owner, calls)
    seen = [(await figures(pool), await figures(pool, basis=1), await figures(pool, campaign_ids=[2]))]
    while await folding.batch(clicks=1, postbacks=1):
        seen.append((await figures(pool), await figures(pool, basis=1), await figures(pool, campaign_ids=[2])))
    assert len(seen) == 6
    assert all(each == seen[0] for each in seen)
    total = seen[-1][0].total
    # At 11:30 p.m. the 24 hours that began at 11 p.m. of the day before are over.
    assert (total.clicks, total.unique_clicks) == (4, 2)
    assert (total.conversions, total.pending_conversions, total.rejected_conversions) == (2, 1, 1)
    assert (total.revenue, total.pending_revenue, total.rejected_revenue) == (Decimal(8), Decimal(3), Decimal(5))
    assert total.cost == Decimal("0.501234567") + 1 + Decimal("3.5")


async def test_a_repeated_call_never_counts_twice(owner: SoleConnection, folding: Folding, pool: Pool) -> None:
    await ensure_days(owner, NOON, 1)
    fact = Fact(Person().click(NOON))
    await store_clicks(owner, [fact])
    call = Postback(fact.click.click_id, NOON, payout=Decimal(5))
    for _ in range(3):
        await store_postbacks(owner, [call, call])
        assert (await figures(pool)).total.conversions == 1
        await folding.batch(postbacks=1)
        assert (await figures(pool)).total.revenue == 5
    await folding.all()
    assert (await figures(pool)).total.conversions == 1
    assert sorted(filter(None, (await decisions(owner, 1)).values())) == [DUPLICATE] * 5


async def test_a_conversion_counts_before_its_click_and_moves_to_its_class(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON, 1)
    click = Person().click(NOON)
    fact = Fact(click, traffic_class=3, fraud=3, outcome=2, cost=HALF, cost_from=1)
    call = Postback(click.click_id, NOON, payout=Decimal(5), cost_model="cpa", cost_value=Decimal(2), number=1)
    await store_postbacks(owner, [call, replace(call, number=2)])
    await folding.all()
    waiting = await figures(pool)
    assert (waiting.of(0).conversions, waiting.of(0).revenue, waiting.total.cost) == (1, Decimal(5), Decimal(2))
    assert await decisions(owner, 1) == {1: WAITING, 2: DUPLICATE}

    await store_clicks(owner, [fact])
    await folding.all()
    attached = await figures(pool)
    assert (attached.of(0).conversions, attached.of(3).conversions, attached.of(3).revenue) == (0, 1, Decimal(5))
    assert attached.total.cost == Decimal("0.5"), "the click's cost came by its link, so the conversion costs nothing"
    assert await decisions(owner, 1) == {1: ACCEPTED, 2: DUPLICATE}
    [made] = await conversions(owner, 1)
    assert (made["class"], made["fraud"], made["outcome"], made["attached"]) == (3, 3, 2, True)


async def test_what_arrived_while_the_account_was_suspended_keeps_that_reason(
    owner: SoleConnection, folding: Folding
) -> None:
    await ensure_days(owner, NOON, 1)
    fact = Fact(Person().click(NOON))
    await store_clicks(owner, [fact])
    await store_postbacks(owner, [Postback(fact.click.click_id, NOON, reason=SUSPENDED_ACCOUNT, number=1)])
    await folding.all()
    assert await decisions(owner, 1) == {1: SUSPENDED_ACCOUNT}
    assert len(await conversions(owner, 1)) == 1


async def test_conversions_are_dated_by_their_own_time_or_by_their_click(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON - timedelta(days=3), 1)
    fact = Fact(Person().click(NOON - timedelta(days=3)))
    await store_clicks(owner, [fact])
    await store_postbacks(owner, [Postback(fact.click.click_id, NOON)])
    then = (DAY[0] - timedelta(days=3), DAY[1] - timedelta(days=3))
    for _ in range(2):
        counts = [
            ((await figures(pool, span=span, basis=basis)).total.conversions)
            for basis in (0, 1)
            for span in (DAY, then)
        ]
        assert counts == [1, 0, 0, 1]
        assert (await figures(pool, span=then, basis=1)).total.clicks == 1
        await folding.all()


async def test_another_account_sees_nothing_even_if_it_asks_for_it(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON, 1)
    fact = Fact(Person().click(NOON), cost=HALF)
    await store_clicks(owner, [fact])
    await store_postbacks(owner, [Postback(fact.click.click_id, NOON)])
    for _ in range(2):
        assert (await figures(pool)).total.clicks == 1
        async with reading(pool, 2) as connection:
            stolen = await repository.figures(connection, 1, None, *DAY)
            counts = await repository.clicks_and_conversions(connection, 1, [(1, *DAY)])
        assert (stolen, counts) == (Sums(), {1: (0, 0)})
        async with reading(pool, 2) as connection:
            assert await connection.fetchval("SELECT count(*) FROM conversions_current") == 0
        await folding.all()


async def test_clicks_and_conversions_of_many_campaigns_each_in_its_own_day(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON - timedelta(days=1), 2)
    facts = [
        Fact(Person().click(NOON), campaign_id=1),
        Fact(Person().click(NOON), campaign_id=1, traffic_class=2),
        Fact(Person().click(NOON), campaign_id=2),
        Fact(Person().click(NOON - timedelta(hours=20)), campaign_id=2),
    ]
    await store_clicks(owner, facts)
    await store_postbacks(
        owner,
        [
            Postback(facts[0].click.click_id, NOON, campaign_id=1),
            Postback(facts[2].click.click_id, NOON, campaign_id=2, status="pending"),
            Postback(facts[3].click.click_id, NOON - timedelta(hours=20), campaign_id=2),
        ],
    )
    earlier = (DAY[0] - timedelta(days=1), DAY[1])
    for _ in range(2):
        async with reading(pool, 1) as connection:
            found = await repository.clicks_and_conversions(connection, 1, [(1, *DAY), (2, *earlier), (3, *DAY)])
        assert found == {1: (2, 1), 2: (2, 1), 3: (0, 0)}
        await folding.all()


async def test_campaigns_add_up_to_the_account(owner: SoleConnection, folding: Folding, pool: Pool) -> None:
    await ensure_days(owner, NOON, 1)
    await store_clicks(owner, [Fact(Person().click(NOON), campaign_id=1 + n % 3, cost=HALF) for n in range(10)])
    await folding.batch(clicks=4)
    async with reading(pool, 1) as connection:
        grouped = await repository.figures_by_campaign(connection, 1, None, *DAY)
        some = await repository.figures(connection, 1, [1, 3], *DAY)
    assert {campaign: sums.total.clicks for campaign, sums in grouped.items()} == {1: 4, 2: 3, 3: 3}
    assert some.total.clicks == 7
    assert (await figures(pool)).total.clicks == 10


async def test_a_click_that_waits_is_not_unique_within_24_hours_of_yesterdays_opening(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON - timedelta(days=1), 2)
    person = Person()
    await store_clicks(owner, [Fact(person.click(NOON - timedelta(hours=13)))])
    await folding.all()
    await store_deltas(owner, [Fact(person.click(NOON - timedelta(hours=11)))])
    for _ in range(2):
        total = (await figures(pool)).total
        assert (total.clicks, total.unique_clicks) == (1, 0)
        await folding.all()


async def test_a_late_click_of_a_known_visitor_is_not_unique_while_it_waits(
    owner: SoleConnection, folding: Folding, pool: Pool
) -> None:
    await ensure_days(owner, NOON, 1)
    person = Person()
    await store_clicks(owner, [Fact(person.click(NOON))])
    await folding.all()
    await store_deltas(
        owner, [Fact(person.click(NOON - timedelta(hours=1))), Fact(person.click(NOON - timedelta(hours=2)))]
    )
    for _ in range(2):
        total = (await figures(pool)).total
        assert (total.clicks, total.unique_clicks) == (3, 1)
        await folding.all()
