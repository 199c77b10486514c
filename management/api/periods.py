"""Days of a query as instants: `from` and `to` are inclusive days of a time zone (api.md section 2, Dates)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from management.errors import invalid_field

DEFAULT_DAYS: Final = 30
_FIRST, _LAST = date(1970, 1, 2), date(9999, 12, 29)


@dataclass(frozen=True, slots=True)
class Period:
    """Inclusive local days and the half-open instants [start, end) that they cover."""

    first: date
    last: date
    time_zone: str

    @property
    def start(self) -> datetime:
        return midnight(self.first, self.time_zone)

    @property
    def end(self) -> datetime:
        return midnight(min(self.last, _LAST) + timedelta(days=1), self.time_zone)

    @property
    def meta(self) -> dict[str, str]:
        """What every answer with figures repeats."""
        return {"from": self.first.isoformat(), "to": self.last.isoformat(), "time_zone": self.time_zone}


def midnight(day: date, time_zone: str) -> datetime:
    """The instant at which `day` begins there; days outside the calendar's safe middle are moved to its edge."""
    day = min(max(day, _FIRST), _LAST + timedelta(days=1))
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def today(now: datetime, time_zone: str) -> date:
    return now.astimezone(ZoneInfo(time_zone)).date()


def figures_period(first: date | None, last: date | None, time_zone: str, now: datetime) -> Period:
    """The period of figures: without dates the last 30 days; `from` alone runs to today; `to` alone covers the 30
    days that end with it."""
    last_day = last or today(now, time_zone)
    first_day = first or date.fromordinal(max(1, last_day.toordinal() - DEFAULT_DAYS + 1))
    return _ordered(first_day, last_day, time_zone)


def list_period(first: date | None, last: date | None, time_zone: str) -> tuple[datetime | None, datetime | None]:
    """The bounds of a list; a list without dates is unbounded."""
    if first is not None and last is not None:
        _ordered(first, last, time_zone)
    start = Period(first, first, time_zone).start if first else None
    end = Period(last, last, time_zone).end if last else None
    return start, end


def _ordered(first: date, last: date, time_zone: str) -> Period:
    if first > last:
        raise invalid_field("from", "The from field must be a day not after to")
    return Period(first, last, time_zone)
