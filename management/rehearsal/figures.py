"""The figures of a campaign or an account, as the API gives them and as a plan expects them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final, Self

HEADINGS: Final = {
    "clicks": "clicks",
    "unique_clicks": "unique",
    "real_clicks": "real",
    "bot_clicks": "bot",
    "vpn_clicks": "vpn",
    "conversions": "conversions",
    "revenue": "revenue",
    "cost": "cost",
    "profit": "profit",
    "roi": "ROI %",
    "cr": "CR %",
    "epc": "EPC",
    "pending_conversions": "pending",
    "pending_revenue": "pending revenue",
}
"""Name in the API → heading, in the order of the columns."""
COLUMNS: Final = tuple(HEADINGS)[:12]
"""Those that tables show; what is pending is compared all the same, or a lost pending postback would go unseen."""
_COUNTS: Final = tuple(name for name in HEADINGS if name.endswith(("clicks", "conversions")))
_RATIOS: Final = ("roi", "cr", "epc")

Value = int | Decimal | None


class UnreadableFigures(ValueError):
    """An answer that has not the figures it should have; the text names the first."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts are whole numbers, amounts exact decimals, ratios None where their denominator is 0."""

    clicks: int
    unique_clicks: int
    real_clicks: int
    bot_clicks: int
    vpn_clicks: int
    conversions: int
    revenue: Decimal
    cost: Decimal
    profit: Decimal
    roi: Decimal | None
    cr: Decimal | None
    epc: Decimal | None
    pending_conversions: int
    pending_revenue: Decimal

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From an answer whose numbers with a fraction were read as Decimal; raises UnreadableFigures."""
        return cls(**{name: _value(name, given) for name in HEADINGS})

    def columns(self) -> Iterable[tuple[str, Value]]:
        """Name and value of those that tables show, in their order."""
        for name in COLUMNS:
            yield name, getattr(self, name)


def _value(name: str, given: Mapping[str, Any]) -> Any:
    if name not in given:
        raise UnreadableFigures(f"the figure {name} is missing")
    value = given[name]
    if name in _COUNTS and type(value) is int:
        return value
    if name not in _COUNTS and type(value) in (int, Decimal):
        return Decimal(value)
    if name in _RATIOS and value is None:
        return None
    raise UnreadableFigures(f"the figure {name} is {value!r}")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not what was sent."""

    row: str
    column: str
    expected: Value
    found: Value


def differences(row: str, expected: Figures, found: Figures) -> list[Difference]:
    """Every figure in which the two are not exactly equal, the pending ones too."""
    return [
        Difference(row, name, getattr(expected, name), getattr(found, name))
        for name in HEADINGS
        if getattr(expected, name) != getattr(found, name)
    ]


assert tuple(HEADINGS) == tuple(field.name for field in fields(Figures))
