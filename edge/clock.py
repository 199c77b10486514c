"""What time it is, and whether that can be believed: the wall clock, watched against one that nobody can set.

A click id carries what the wall clock says, always. What is reported and what windows are judged by is chosen here,
once: while the clock stands where it belongs, the same; after a step of more than 5 s, what it would say without the
step, until it stands back there or has kept its new place for ten minutes. So a clock that is set wrong and mended
moves no click in the figures, and one that was mended is believed after ten minutes.

Not noticed: a step of less than 5 s, and a clock that was wrong already when the process began.
"""

import time
from collections.abc import Callable
from typing import Final

STEP_NS: Final = 5_000_000_000
"""Network time slews a clock that is off by less than a tenth of a second, and steps it beyond: 5 s is neither."""
BELIEVED_NS: Final = 600_000_000_000
"""A place that the clock keeps so long is its right one: who sets a clock wrong by hand mends it sooner."""
_UNWATCHED_NS: Final = 1_000_000_000
_SLEWED: Final = 1000
"""The kernel slews by at most one part in 2,000: what a clock may gain or lose while nobody looks, and as much again."""


def _since_boot() -> int:
    # Unlike CLOCK_MONOTONIC it goes on while the machine sleeps, so that waking up is no step.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Clock:
    """One process's view of the time, cheap enough for every click: the steady clock is asked once a second, and
    whenever the wall clock went back or is suspect."""

    __slots__ = ("_from_ns", "_looked_at", "_place", "_steady", "_stepped_at", "_stepped_to", "_to_ns", "_wall")

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = _since_boot) -> None:
        """Both in ns; `steady` only ever goes on."""
        self._wall = wall
        self._steady = steady
        self._from_ns = self._to_ns = 0
        """Readings of the wall clock that need no further look."""
        self._looked_at = steady()
        self._place = wall() - self._looked_at
        """Where the wall clock stands against the steady one; it follows slewing."""
        self._stepped_to = 0
        self._stepped_at = -1

    def now(self) -> tuple[int, int]:
        """What the clock says, and the time to report; both in ms since 1970. They differ, by more than 5 s, exactly
        while the clock is suspect."""
        wall = self._wall()
        now_ms = wall // 1_000_000
        if self._from_ns <= wall < self._to_ns or self._stands(wall):
            return now_ms, now_ms
        return now_ms, (self._steady() + self._place) // 1_000_000

    def _stands(self, wall: int) -> bool:
        """Whether the wall clock stands where it did at the last look, but for slewing, or may be believed again."""
        steady = self._steady()
        place = wall - steady
        allowed = STEP_NS + (steady - self._looked_at) // _SLEWED
        if abs(place - self._place) > allowed and not self._is_settled(place, steady):
            self._from_ns = self._to_ns = 0
            return False
        self._place, self._looked_at = place, steady
        self._from_ns, self._to_ns = wall, wall + _UNWATCHED_NS
        return True

    def _is_settled(self, place: int, steady: int) -> bool:
        """Whether the place that the clock was stepped to is kept for long enough."""
        if self._stepped_at < self._looked_at or abs(place - self._stepped_to) > STEP_NS:
            self._stepped_at = steady
        self._stepped_to = place
        return steady - self._stepped_at >= BELIEVED_NS
