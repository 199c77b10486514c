"""When each click of a log is due. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from management.rehearsal.access_log import LogClick
from management.rehearsal.errors import RehearsalError


@dataclass(frozen=True, slots=True)
class Pace:
    """At most one is given: `speed` times the log's own time, or `rate` clicks a second; neither: as fast as it goes."""

    speed: float | None = None
    rate: float | None = None

    def check(self) -> None:
        """Raises RehearsalError for a pace that is none."""
        if self.speed is not None and self.rate is not None:
            raise RehearsalError("Give either --speed or --rate, not both")
        for name, value in (("speed", self.speed), ("rate", self.rate)):
            if value is not None and not 0 < value < float("inf"):
                raise RehearsalError(f"--{name} must be greater than 0")


def due(clicks: Iterable[LogClick], pace: Pace) -> Iterator[tuple[float, LogClick]]:
    """Each click with the second after the start at which it is due; a log that steps back in time never waits."""
    first: float | None = None
    for place, click in enumerate(clicks):
        if pace.rate is not None:
            yield place / pace.rate, click
        elif pace.speed is not None:
            first = click.ts if first is None else first
            yield max(0.0, click.ts - first) / pace.speed, click
        else:
            yield 0.0, click
