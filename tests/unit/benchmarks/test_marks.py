"""Covers the judgement of a figure against its mark. What is measured for it is a report and has no test."""

import pytest

from benchmarks.marks import Mark, verdict

RATIO = Mark("", "", must=0.50, goal=0.65)
WITHOUT_GOAL = Mark("", "", must=35_000, goal=None)
MILLISECONDS = Mark("", "", must=4, goal=1.5, higher=False)


@pytest.mark.parametrize(
    ("mark", "value", "judged"),
    [
        (RATIO, 0.65, "goal met"),
        (RATIO, 0.649, "must met"),
        (RATIO, 0.50, "must met"),
        (RATIO, 0.47, "NOT MET by 0.03"),
        (WITHOUT_GOAL, 35_000, "must met"),
        (WITHOUT_GOAL, 33_000, "NOT MET by 2,000"),
        (MILLISECONDS, 1.5, "goal met"),
        (MILLISECONDS, -0.2, "goal met"),
        (MILLISECONDS, 4, "must met"),
        (MILLISECONDS, 4.5, "NOT MET by 0.5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_figure_is_judged_by_the_side_its_mark_bounds(mark: Mark, value: float, judged: str) -> None:
    assert verdict(mark, value) == judged
