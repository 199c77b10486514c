"""Covers when each click of a log is due. Leaves the waiting itself to test_driver.py."""

import pytest

from management.rehearsal.access_log import LogClick
from management.rehearsal.errors import RehearsalError
from management.rehearsal.pace import Pace, due


def times(pace: Pace, *stamps: float) -> list[float]:
    return [when for when, _ in due([LogClick(ts, "192.0.2.1", "", "", "/") for ts in stamps], pace)]


def test_without_a_pace_everything_is_due_at_once() -> None:
    assert times(Pace(), 100.0, 200.0) == [0.0, 0.0]


def test_a_speed_shortens_the_logs_own_time() -> None:
    assert times(Pace(speed=60), 1000.0, 1060.0, 1180.0) == [0.0, 1.0, 3.0]


def test_a_log_that_steps_back_in_time_does_not_wait() -> None:
    assert times(Pace(speed=1), 1000.0, 990.0, 1001.0) == [0.0, 0.0, 1.0]


def test_a_rate_spaces_clicks_evenly_whatever_the_log_says() -> None:
    assert times(Pace(rate=4), 1000.0, 5000.0, 1.0) == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    "pace", [Pace(speed=1, rate=1), Pace(speed=0), Pace(rate=-1), Pace(speed=float("inf")), Pace(rate=float("nan"))]
)
def test_a_pace_that_is_none_is_refused(pace: Pace) -> None:
    with pytest.raises(RehearsalError):
        pace.check()
