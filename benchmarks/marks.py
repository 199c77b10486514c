"""What edge and management have to reach, and whether they did in this run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Findings = dict[str, float]
"""By the key of a mark, what was measured for it: medians of the rounds."""


class Mark(NamedTuple):
    """`must` and `goal` are bounds from below when `higher` is better, else from above; without a goal the must is all
    that is asked."""

    key: str
    name: str
    must: float
    goal: float | None
    higher: bool = True


RATIO_FSYNC, RATIO_FSYNC_256, RATIO_OS = "ratio fsync", "ratio fsync 256", "ratio os"
CORE_US = "core"
P50_SAME_SHARE, P99_SAME_SHARE, P50_SAME_RATE, P99_SAME_RATE = "p50 share", "p99 share", "p50 rate", "p99 rate"
RATIO_NEW_AGENTS, RATIO_TABLE = "ratio new agents", "ratio table"
STORE_RATIO, STORE_CORE, FOLD_FEW, FOLD_MANY = "store ratio", "store core", "fold few", "fold many"
GROWN_STATS, GROWN_COUNTRIES, GROWN_LIST, GROWN_DROP = "grown stats", "grown countries", "grown list", "grown drop"
SHIPPER_CORE, BROKER_FAULTS, TWO_INGESTERS = "shipper core", "broker faults", "two ingesters"

MARKS = (
    Mark(RATIO_FSYNC, "fsync before the 302, of bare uvicorn's 302", 0.50, 0.65),
    Mark(RATIO_FSYNC_256, "the same with 256 connections", 0.60, 0.75),
    Mark(RATIO_OS, "os, of bare uvicorn's 302", 0.60, 0.80),
    Mark(CORE_US, "click core, µs of processor time", 16, 12, higher=False),
    Mark(P50_SAME_SHARE, "p50 over bare uvicorn, each at half its maximum, fsync, ms", 1, 0.5, higher=False),
    Mark(P99_SAME_SHARE, "p99 over bare uvicorn, each at half its maximum, fsync, ms", 4, 1.5, higher=False),
    Mark(P50_SAME_RATE, "p50 over bare uvicorn, both at half the edge's maximum, ms", 1, 0.5, higher=False),
    Mark(P99_SAME_RATE, "p99 over bare uvicorn, both at half the edge's maximum, ms", 4, 1.5, higher=False),
    Mark(RATIO_NEW_AGENTS, "new user agent every click, of bare uvicorn's 302", 0.30, 0.45),
    Mark(RATIO_TABLE, "100,000 campaigns against 100", 0.95, 1.0),
    Mark(STORE_RATIO, "storing, of plain COPY, INSERT and roll-up", 0.80, None),
    Mark(STORE_CORE, "storing, rows/s a core of the process", 35_000, None),
    Mark(FOLD_FEW, "fold, deltas/s with 200 campaigns", 40_000, None),
    Mark(FOLD_MANY, "fold, deltas/s with 100,000 campaigns evenly hit", 20_000, None),
    Mark(GROWN_STATS, "10 million clicks: campaign's figures of 30 days, ms", 20, None, higher=False),
    Mark(GROWN_COUNTRIES, "10 million clicks: countries of 30 days, ms", 50, None, higher=False),
    Mark(GROWN_LIST, "10 million clicks: first page of the click list, ms", 20, None, higher=False),
    Mark(GROWN_DROP, "10 million clicks: one day dropped, s", 1, None, higher=False),
    Mark(SHIPPER_CORE, "shipper, events/s a core", 100_000, None),
    Mark(BROKER_FAULTS, "redirect's p99 during the worst broker fault, of before", 1.2, None, higher=False),
    Mark(TWO_INGESTERS, "two ingest processes against one", 1.0, None),
)


def verdict(mark: Mark, value: float) -> str:
    """`goal`, `must`, or how far the value is from the must."""
    sign = 1 if mark.higher else -1
    if mark.goal is not None and sign * value >= sign * mark.goal:
        return "goal met"
    if sign * value >= sign * mark.must:
        return "must met"
    return f"NOT MET by {_number(abs(value - mark.must))}"


def show(findings: Mapping[str, float], doubts: Sequence[str]) -> None:
    """The table of marks; what this run did not measure is left open. `doubts` say why none of it may be quoted."""
    print("\nMarks" + "".join(f" ({doubt})" for doubt in doubts))
    print(f"  {'':<62} {'value':>8} {'must':>8} {'goal':>8}")
    for mark in MARKS:
        sign = "≥" if mark.higher else "≤"
        value = findings.get(mark.key)
        shown, judged = ("–", "not measured") if value is None else (_number(value), verdict(mark, value))
        goal = "" if mark.goal is None else sign + _number(mark.goal)
        print(f"  {mark.name:<62} {shown:>8} {sign + _number(mark.must):>8} {goal:>8}  {judged}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
