"""When a stepped wall clock is noticed, what is reported instead, and when it is believed again; with clocks made here.

A real edge under a stepped clock is in ../../faults/edge/test_clock.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import BELIEVED_NS, STEP_NS, Clock
from tests.unit.edge.builders import NOON_MS
from tests.unit.fuzz.effort import searched

SECOND = 1_000_000_000
HOUR, YEAR = 3_600 * SECOND, 31_557_600 * SECOND


class Times:
    """A wall clock that can be set, beside one that cannot."""

    def __init__(self) -> None:
        self.wall = NOON_MS * 1_000_000
        self.steady = 77 * SECOND
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def pass_by(self, ns: int, slewed: int = 0) -> None:
        self.steady += ns
        self.wall += ns + slewed

    def look(self) -> tuple[int, int, bool]:
        """What the clock says and what is reported, as seconds since the beginning; whether the clock is suspect."""
        now_ms, reported_ms = self.clock.now()
        assert now_ms == self.wall // 1_000_000, "what the clock says is never changed"
        return (now_ms - NOON_MS) // 1000, (reported_ms - NOON_MS) // 1000, now_ms != reported_ms


def test_a_clock_that_goes_on_is_believed() -> None:
    times = Times()
    for second in range(1, 5):
        times.pass_by(SECOND)
        assert times.look() == (second, second, False)


@pytest.mark.parametrize("step", [-HOUR, HOUR, 24 * HOUR, -30 * YEAR, 20 * YEAR, STEP_NS + SECOND, -STEP_NS - SECOND])
def test_after_a_step_the_time_goes_on_as_if_there_had_been_none(step: int) -> None:
    times = Times()
    times.wall += step
    times.pass_by(SECOND)
    assert times.look() == (1 + step // SECOND, 1, True)
    times.pass_by(SECOND)
    assert times.look() == (2 + step // SECOND, 2, True)


@pytest.mark.parametrize("step", [STEP_NS, -STEP_NS, 1, -1])
def test_a_small_step_is_followed(step: int) -> None:
    times = Times()
    times.wall += step
    assert times.look()[2] is False


def test_a_clock_that_is_set_back_in_time_is_believed_at_once() -> None:
    times = Times()
    times.wall -= HOUR
    assert times.look()[2]
    times.wall += HOUR
    times.pass_by(SECOND)
    assert times.look() == (1, 1, False)


def test_a_new_place_is_believed_once_it_was_kept_for_ten_minutes() -> None:
    times = Times()
    times.wall += HOUR
    assert times.look()[2]
    times.pass_by(BELIEVED_NS - 1)
    assert times.look()[2]
    times.pass_by(1)
    assert times.look() == (4_200, 4_200, False)
    times.wall -= HOUR
    assert times.look()[1:] == (4_200, True), "now the former place is the strange one"


def test_ten_minutes_begin_anew_with_each_step() -> None:
    times = Times()
    times.wall += HOUR
    times.look()
    times.pass_by(BELIEVED_NS - SECOND)
    times.wall += HOUR
    assert times.look()[2]
    times.pass_by(2 * SECOND)
    assert times.look()[2]
    times.wall -= 2 * HOUR
    assert not times.look()[2]
    times.wall += 2 * HOUR
    assert times.look()[2]
    times.pass_by(BELIEVED_NS - SECOND)
    assert times.look()[2], "a place it left in between does not count"


def test_a_reading_that_was_right_once_is_not_right_again_after_a_step_back() -> None:
    times = Times()
    assert not times.look()[2]
    times.wall -= STEP_NS + SECOND
    assert times.look()[2]
    times.pass_by(STEP_NS + SECOND + SECOND // 2)
    assert times.look() == (0, 6, True)


def test_a_step_is_judged_by_how_long_nobody_looked() -> None:
    idle = Times()
    idle.pass_by(24 * HOUR, slewed=43 * SECOND)
    assert idle.look() == (86_443, 86_443, False), "the kernel slews as much in a day"
    idle.pass_by(SECOND, slewed=43 * SECOND)
    assert idle.look()[2], "but not in a second"


def test_slewing_is_followed_however_far_it_goes() -> None:
    times = Times()
    for _ in range(1000):
        times.pass_by(SECOND, slewed=SECOND // 10)
        assert not times.look()[2]


def test_the_real_clocks_agree_with_each_other() -> None:
    now_ms, reported_ms = Clock().now()
    assert now_ms == reported_ms


@searched
@given(st.lists(st.tuples(st.integers(0, BELIEVED_NS), st.integers(-2 * YEAR, 2 * YEAR) | st.just(0)), max_size=20))
def test_the_reported_time_jumps_only_when_a_new_place_is_believed(moves: list[tuple[int, int]]) -> None:
    times = Times()
    last, place = times.clock.now()[1], 0
    kept = 0
    for passed, step in moves:
        times.pass_by(passed)
        times.wall += step
        place += step
        now_ms, reported_ms = times.clock.now()
        kept = 0 if abs(step) > STEP_NS else kept + passed
        jump = abs((reported_ms - last) * 1_000_000 - passed)
        assert jump <= STEP_NS + passed // 1000 + 1_000_000 or (kept >= BELIEVED_NS and now_ms == reported_ms)
        assert now_ms == reported_ms or abs(now_ms - reported_ms) * 1_000_000 > STEP_NS
        last = reported_ms
