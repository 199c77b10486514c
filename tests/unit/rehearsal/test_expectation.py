"""Covers the figures that a plan must give, worked out by hand for small plans. Leaves what plans contain to
test_plan.py, and whether the product gives these figures to the end-to-end tests."""

from dataclasses import asdict
from decimal import Decimal

import pytest

from management.rehearsal.expectation import expected_figures
from management.rehearsal.figures import Figures, UnreadableFigures, differences
from management.rehearsal.listed_addresses import ListedAddresses
from management.rehearsal.plan import Plan, PlannedCampaign, PlannedVisit, Postback, Visitor, make_plan
from management.rehearsal.visits import Visit

ANNA, BEN = Visit("192.0.2.1", "Browser A"), Visit("192.0.2.2", "Browser B")
PERSON, PROGRAM, MASKED = Visitor.PERSON, Visitor.PROGRAM, Visitor.MASKED


def campaign(model: str, value: str) -> PlannedCampaign:
    return PlannedCampaign(model, model, value, "5.00")


def figures_of(model: str, value: str, *visits: PlannedVisit) -> Figures:
    return expected_figures(Plan((campaign(model, value),), visits))[0][0]


def order(*calls: tuple[str, str | None]) -> tuple[Postback, ...]:
    return tuple(Postback("order-1", status, payout) for status, payout in calls)


def test_a_cpc_campaign_by_hand() -> None:
    found = figures_of(
        "cpc",
        "0.35",
        PlannedVisit(0, PERSON, ANNA, order(("approved", "10.00"))),
        PlannedVisit(0, PERSON, ANNA),
        PlannedVisit(0, PERSON, BEN),
        PlannedVisit(0, PROGRAM, Visit("192.0.2.3", "")),
        PlannedVisit(0, MASKED, Visit("192.0.2.4", "Browser A")),
    )
    assert found == Figures(
        clicks=5, unique_clicks=4, real_clicks=3, bot_clicks=1, vpn_clicks=1, conversions=1,
        revenue=Decimal(10), cost=Decimal("1.75"), profit=Decimal("8.25"),
        roi=Decimal("471.4286"), cr=Decimal("33.3333"), epc=Decimal(2),
        pending_conversions=0, pending_revenue=Decimal(0),
    )  # fmt: skip


def test_a_cpm_is_for_a_thousand_clicks_and_rounded_once() -> None:
    found = figures_of("cpm", "2.7531", *[PlannedVisit(0, PERSON, ANNA)] * 3)
    # 3 × 0.0027531 = 0.0082593
    assert (found.cost, found.profit, found.roi) == (Decimal("0.0083"), Decimal("-0.0083"), Decimal(-100))


def test_a_cpa_is_paid_for_each_approved_conversion() -> None:
    found = figures_of(
        "cpa",
        "6.40",
        PlannedVisit(0, PERSON, ANNA, order(("approved", "10.00"))),
        PlannedVisit(0, PERSON, ANNA, order(("pending", "10.00"))),
        PlannedVisit(0, PERSON, BEN, order(("approved", "2.00"))),
    )
    assert (found.conversions, found.revenue, found.cost) == (2, Decimal(12), Decimal("12.80"))
    assert (found.pending_conversions, found.pending_revenue) == (1, Decimal(10))


@pytest.mark.parametrize(
    ("calls", "conversions", "revenue", "pending"),
    [
        ([("approved", "3.00"), ("approved", "3.00"), ("approved", "3.00")], 1, "3", "0"),
        ([("pending", "3.00")], 0, "0", "3"),
        ([("pending", None)], 0, "0", "5"),
        ([("pending", "3.00"), ("approved", "3.00")], 1, "3", "0"),
        ([("approved", "3.00"), ("refunded", "3.00")], 1, "3", "0"),
        ([("approved", None)], 1, "5", "0"),
    ],
)
def test_a_course_of_postbacks_counts_as_open_channels_do(
    calls: list[tuple[str, str | None]], conversions: int, revenue: str, pending: str
) -> None:
    found = figures_of("cpc", "1", PlannedVisit(0, PERSON, ANNA, order(*calls)))
    assert (found.conversions, found.revenue) == (conversions, Decimal(revenue))
    assert found.pending_revenue == Decimal(pending)


def test_heads_and_prefetches_are_in_no_figure_and_use_up_no_uniqueness() -> None:
    head, prefetch = Visit("192.0.2.1", "Browser A", method="HEAD"), Visit("192.0.2.1", "Browser A", prefetch=True)
    visits = [PlannedVisit(0, PERSON, visit) for visit in (head, prefetch, ANNA)]
    found = figures_of("cpc", "1", *visits)
    assert (found.clicks, found.unique_clicks, found.cost) == (1, 1, Decimal(1))


def test_a_ratio_without_denominator_is_none() -> None:
    found = figures_of("cpa", "6.40", PlannedVisit(0, PROGRAM, Visit("192.0.2.3", "")))
    assert (found.roi, found.cr, found.epc) == (None, None, Decimal(0))
    nothing = figures_of("cpc", "1")
    assert (nothing.roi, nothing.cr, nothing.epc) == (None, None, None)


@pytest.mark.parametrize(
    ("other", "unique"),
    [
        (Visit("2001:db8::ffff", "Browser A"), 1),
        (Visit("2001:db8:0:1::1", "Browser A"), 2),
        (Visit("2001:db8::1", "Browser B"), 2),
        (Visit("2001:db8::1", "Browser A", language="de"), 2),
        (Visit("2001:db8::1", "Browser A", sub1="/elsewhere"), 1),
    ],
)
def test_a_visitor_is_an_address_or_its_64_an_agent_and_a_language(other: Visit, unique: int) -> None:
    first = Visit("2001:db8::1", "Browser A")
    visits = [PlannedVisit(0, PERSON, visit) for visit in (first, other)]
    assert figures_of("cpc", "1", *visits).unique_clicks == unique


def test_the_same_visitor_is_unique_once_on_each_campaign() -> None:
    plan = Plan(
        (campaign("cpc", "1"), campaign("cpm", "1")),
        (PlannedVisit(0, PERSON, ANNA), PlannedVisit(1, PERSON, ANNA), PlannedVisit(1, PERSON, ANNA)),
    )
    (first, second), total = expected_figures(plan)
    assert (first.unique_clicks, second.unique_clicks, total.unique_clicks) == (1, 1, 2)


def test_the_total_adds_exact_amounts_and_rounds_them_once() -> None:
    plan = Plan(
        (campaign("cpm", "0.04"), campaign("cpm", "0.04")),
        (PlannedVisit(0, PERSON, ANNA), PlannedVisit(1, PERSON, ANNA)),
    )
    (first, second), total = expected_figures(plan)
    # Each costs 0.00004, which alone rounds to nothing.
    assert (first.cost, second.cost, total.cost) == (Decimal(0), Decimal(0), Decimal("0.0001"))


def test_classes_of_a_whole_plan_add_up() -> None:
    campaigns, total = expected_figures(make_plan(5, 800, ListedAddresses()))
    for figures in (*campaigns, total):
        assert figures.real_clicks + figures.bot_clicks + figures.vpn_clicks == figures.clicks
        # Each is rounded once, from the exact amount.
        assert abs(figures.profit - (figures.revenue - figures.cost)) <= Decimal("0.0001")
    assert total.clicks == 800
    assert total.bot_clicks > 50


def test_differences_name_each_figure_that_is_not_equal() -> None:
    wanted = figures_of("cpc", "1", PlannedVisit(0, PERSON, ANNA), PlannedVisit(0, PERSON, BEN))
    found = figures_of("cpc", "1", PlannedVisit(0, PERSON, ANNA), PlannedVisit(0, PERSON, ANNA))
    (only,) = differences("row", wanted, found)
    assert (only.row, only.column, only.expected, only.found) == ("row", "unique_clicks", 2, 1)
    assert differences("row", wanted, wanted) == []


@pytest.mark.parametrize(
    "change", [{"clicks": "7"}, {"clicks": Decimal("7.5")}, {"revenue": None}, {"revenue": 1.5}, {"clicks": True}]
)
def test_figures_of_the_wrong_kind_are_refused(change: dict[str, object]) -> None:
    given = asdict(figures_of("cpc", "1", PlannedVisit(0, PERSON, ANNA)))
    assert Figures.from_json(given).clicks == 1
    with pytest.raises(UnreadableFigures, match=next(iter(change))):
        Figures.from_json(given | change)
    with pytest.raises(UnreadableFigures, match="epc is missing"):
        Figures.from_json({name: value for name, value in given.items() if name != "epc"})
