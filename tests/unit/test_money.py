"""Covers amounts: reading, exact click costs, the way they are written. Formulas of figures: tests/unit/stats."""

from decimal import Decimal

import pytest

from shared import money


@pytest.mark.parametrize("text", ["0", "45", "45.00", "-3.5", "999999999999.999999"])
def test_a_plain_amount_is_a_payout(text: str) -> None:
    assert money.parse_payout(text) == Decimal(text)


@pytest.mark.parametrize("text", ["", "1e3", "1,5", ".5", "5.", "+1", "NaN", "1.1234567", "1" * 13, "٤٥", " 1", "1\n"])
def test_anything_else_is_not(text: str) -> None:
    assert money.parse_payout(text) is None


@pytest.mark.parametrize(("text", "nanos"), [("0.5", 500_000_000), ("12.000001", 12_000_001_000), ("3", 3 * 10**9)])
def test_a_links_cost_is_exact(text: str, nanos: int) -> None:
    assert money.parse_link_cost(text) == nanos


@pytest.mark.parametrize("text", ["-1", "1e3", "1234567", "1.1234567", "", "a", "1.5\n"])
def test_a_links_cost_of_another_form_is_ignored(text: str) -> None:
    assert money.parse_link_cost(text) is None


def test_a_thousandth_of_the_smallest_cpm_is_exact() -> None:
    assert money.click_cost("cpm", Decimal("0.000001")) == 1
    assert money.click_cost("cpc", Decimal("0.5")) == 500_000_000
    assert money.click_cost("cpa", Decimal("5")) == 0
    assert money.click_cost(None, None) == 0


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("405", "405.00"),
        ("1.35", "1.35"),
        ("2.3456", "2.3456"),
        ("2.34", "2.34"),
        ("2.345", "2.345"),
        ("0.00005", "0.0001"),
        ("-0.00005", "-0.0001"),
        ("-0.00001", "0.00"),
        ("1E+3", "1000.00"),
    ],
)
def test_a_figure_has_two_to_four_decimals_rounded_half_up(value: str, written: str) -> None:
    assert money.figure(Decimal(value)) == written


@pytest.mark.parametrize(
    ("value", "written"), [("45.000000", "45.00"), ("0.5", "0.50"), ("1.234567", "1.234567"), ("7", "7.00")]
)
def test_a_stored_amount_reads_back_as_written(value: str, written: str) -> None:
    assert money.amount(Decimal(value)) == written
