"""Covers what is made of rows, wall time and processor time. What is measured is a report and has no test."""

import os

import pytest

from benchmarks.speed import COLUMNS, Speed, Stopwatch, line, ratio

ROUNDS = [Speed(1000, 0.5, 0.1, 0.25), Speed(1000, 1.0, 0.2, 0.5), Speed(1000, 2.0, 0.4, 1.0)]


def test_a_line_has_medians_and_stands_below_its_columns() -> None:
    written = line("ours", ROUNDS)
    assert written.split() == ["ours", "1,000", "(500", "…", "2,000)", "5,000", "2,000", "1,429"]
    assert len(written) == len(COLUMNS)


def test_a_ratio_is_of_two_runs_of_one_round() -> None:
    theirs = [Speed(1000, 1.0, 0, 0), Speed(1000, 1.0, 0, 0), Speed(1000, 1.0, 0, 0)]
    assert ratio(ROUNDS, theirs) == (1.0, 0.5, 2.0)
    with pytest.raises(ValueError, match="argument"):
        ratio(ROUNDS, theirs[:2])


def test_too_little_processor_time_to_be_told_from_none_is_left_open() -> None:
    assert line("ours", [Speed(1000, 0.5, 0.01, 0.25), ROUNDS[0]]).split()[-3:] == ["–", "4,000", "3,352"]


def test_a_stopwatch_counts_the_processes_it_is_given() -> None:
    watch = Stopwatch([os.getpid()], [os.getpid()])
    while (speed := watch.speed(7)).process < 0.05:
        pass
    assert speed.rows == 7
    assert speed.process == pytest.approx(speed.backend, abs=0.02)
    assert speed.wall >= 0.04
