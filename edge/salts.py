"""The salts of visitor keys by UTC day, and what stands in for one that never arrived. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from shared.ids import next_salt

DAY_MS: Final = 86_400_000
_SALT_BYTES: Final = 32
_KEPT_SALT_DAYS: Final = 2


class DaySalts(NamedTuple):
    """The salts that a click of one UTC day needs; `derived` when one of them had to be made here."""

    today: bytes
    yesterday: bytes
    derived: bool


class Salts:
    """Salts by UTC day (YYYY-MM-DD), and stand-ins for days whose salt never arrived."""

    def __init__(self, known: Mapping[str, bytes], origin: bytes) -> None:
        """`origin` is 32 random bytes of this process, from which salts are derived when none was ever received."""
        self.known = dict(known)
        self._origin = origin
        self._days: dict[int, DaySalts] = {}

    def of_day(self, day: int) -> DaySalts:
        """The salts for clicks of `day`, counted from 1970-01-01 UTC."""
        salts = self._days.get(day)
        if salts is None:
            today, today_derived = self._salt(_date(day))
            yesterday, yesterday_derived = self._salt(_date(day - 1))
            salts = DaySalts(today, yesterday, today_derived or yesterday_derived)
            if len(self._days) >= 8:
                self._days.clear()
            self._days[day] = salts
        return salts

    def _salt(self, date: str) -> tuple[bytes, bool]:
        salt = self.known.get(date)
        if salt is not None:
            return salt, False
        earlier = [known for known in self.known if known < date]
        return next_salt(self.known[max(earlier)] if earlier else self._origin, date), True

    def recent(self, day: int) -> dict[str, bytes]:
        """What may be kept on disk on `day`: salts at most 48 hours old, and else the last one, to derive from."""
        oldest = _date(day - _KEPT_SALT_DAYS)
        kept = {date: salt for date, salt in self.known.items() if date >= oldest}
        if not kept and self.known:
            last = max(self.known)
            kept[last] = self.known[last]
        return kept


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")


def usable_salts(texts: Mapping[str, str]) -> dict[str, bytes]:
    """The well-formed ones of salts in hex; one that is none is left out, so that another is derived in its place."""
    usable: dict[str, bytes] = {}
    for date, text in texts.items():
        try:
            salt = bytes.fromhex(text)
        except (ValueError, TypeError):
            continue
        if len(salt) == _SALT_BYTES:
            usable[date] = salt
    return usable
