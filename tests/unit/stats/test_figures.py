"""Covers the formulas of api.md section 3. That the sums are right is in integration/fold/test_figures.py; how numbers
are written in the tests of shared.money."""

from decimal import Decimal

import pytest

from management.stats.figures import Figures, Slice, Sums, add_sums

SAMPLE = Sums(
    {
        1: Slice(
            10_000, 8_500, Decimal(5_000 * 10**9), 440, 3, 2, Decimal("20000.00"), Decimal(30), Decimal(20), Decimal(0)
        ),
        2: Slice(3_000, 2_500, Decimal(1_500 * 10**9), 0, 0, 0, Decimal(0), Decimal(0), Decimal(0), Decimal(0)),
        3: Slice(2_000, 1_500, Decimal(1_000 * 10**9), 10, 0, 1, Decimal("250.00"), Decimal(0), Decimal(5), Decimal(0)),
    }
)


def test_the_sample_of_the_contract() -> None:
    shown = list(Figures(SAMPLE).as_fields().items())[:12]
    assert shown == [
        ("clicks", 15_000),
        ("unique_clicks", 12_500),
        ("real_clicks", 10_000),
        ("bot_clicks", 3_000),
        ("vpn_clicks", 2_000),
        ("conversions", 450),
        ("revenue", Decimal(20_250)),
        ("cost", Decimal(7_500)),
        ("profit", Decimal(12_750)),
        ("roi", Decimal(170)),
        ("cr", Decimal("4.5")),
        ("epc", Decimal("1.35")),
    ]


def test_pending_and_rejected_stand_beside_and_count_nowhere_else() -> None:
    shown = Figures(SAMPLE).as_fields()
    assert (shown["pending_conversions"], shown["pending_revenue"]) == (3, 30)
    assert (shown["rejected_conversions"], shown["rejected_revenue"]) == (3, 25)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cr_all", Decimal(3)),
        ("cr_unique", Decimal("3.6")),
        ("epc_real", Decimal("2.025")),
        ("epc_unique", Decimal("1.62")),
        ("unique_real_clicks", 8_500),
        ("real_conversions", 440),
        ("real_cost", 5_000),
    ],
)
def test_every_metric_exists_for_all_real_and_unique_clicks(name: str, value: Decimal | int) -> None:
    assert Figures(SAMPLE).as_fields()[name] == value


def test_where_nothing_divides_there_is_no_figure() -> None:
    shown = Figures(Sums()).as_fields()
    assert [name for name, value in shown.items() if value is None] == [
        "roi",
        "cr",
        "epc",
        "cr_all",
        "cr_unique",
        "epc_real",
        "epc_unique",
    ]
    assert [value for value in shown.values() if value is not None] == [0] * 19


def test_conversions_that_wait_for_their_click_are_in_the_total() -> None:
    waiting = Sums({0: Slice(conversions=1, revenue=Decimal("0.1"))})
    shown = Figures(add_sums([SAMPLE, waiting])).as_fields()
    assert (shown["conversions"], shown["revenue"]) == (451, Decimal("20250.1"))
    assert (shown["real_conversions"], shown["clicks"]) == (440, 15_000)


def test_sums_stay_exact_beyond_28_digits() -> None:
    large = Sums({1: Slice(revenue=Decimal("123456789012345678901234.123456"))})
    small = Sums({1: Slice(revenue=Decimal("0.000001"))})
    assert add_sums([large, small]).total.revenue == Decimal("123456789012345678901234.123457")
