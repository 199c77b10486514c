"""What rows cost behind the edge: wall time, and processor time of a process and of its Postgres backend.

"A core" is a second of processor time: of the process, of the backend, or of both together.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.machine import cpu_seconds
from benchmarks.rounds import Spread

COLUMNS = f"  {'':<30} {'rows/s (min … max)':>28} {'a core: process':>16} {'backend':>9} {'both':>9}"
LEAST_SECONDS = 0.05


@dataclass(frozen=True)
class Speed:
    """Wall and processor seconds that `rows` took."""

    rows: int
    wall: float
    process: float
    backend: float

    @property
    def rate(self) -> float:
        return self.rows / self.wall

    @property
    def a_core(self) -> float:
        """Rows a second of the process's own processor time."""
        return self.rows / max(self.process, 1e-9)


class Stopwatch:
    """Takes what a process and a backend use from when it was made; times are read from the kernel, which counts the
    threads of each process together."""

    def __init__(self, process: Sequence[int], backend: Sequence[int]) -> None:
        self._pids = process, backend
        self._used = cpu_seconds(process), cpu_seconds(backend)
        self._started = time.monotonic()

    def speed(self, rows: int) -> Speed:
        wall = time.monotonic() - self._started
        process, backend = (cpu_seconds(pids) - used for pids, used in zip(self._pids, self._used, strict=True))
        return Speed(rows, wall, process, backend)


def line(label: str, speeds: Sequence[Speed]) -> str:
    """Below COLUMNS: medians of the rounds, rows/s with the least and the greatest."""
    rate = Spread.of([speed.rate for speed in speeds]).text(",.0f")
    process = _a_core([(speed.rows, speed.process) for speed in speeds])
    backend = _a_core([(speed.rows, speed.backend) for speed in speeds])
    both = _a_core([(speed.rows, speed.process + speed.backend) for speed in speeds])
    return f"  {label:<30} {rate:>28} {process:>16} {backend:>9} {both:>9}"


def _a_core(taken: Sequence[tuple[int, float]]) -> str:
    # What takes less than some ticks of the kernel's clock cannot be told from nothing.
    if any(seconds < LEAST_SECONDS for _, seconds in taken):
        return "–"
    return f"{Spread.of([rows / seconds for rows, seconds in taken]).median:,.0f}"


def ratio(ours: Sequence[Speed], theirs: Sequence[Speed]) -> Spread:
    """Of rows a second, each of two runs of one round."""
    return Spread.of([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)])
