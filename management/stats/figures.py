"""The figures of api.md section 3 out of sums. Pure; exact, rounded only when written (shared.money.figure)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final

from shared.money import nanos_to_decimal
from shared.traffic import TrafficClass

REAL, BOT, VPN = int(TrafficClass.REAL), int(TrafficClass.BOT), int(TrafficClass.VPN)
# Sums are exact up to 10^26; a quotient is no decimal fraction at all and keeps 40 digits until it is written.
_CONTEXT = Context(prec=40)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one traffic class adds up to. `click_cost` in whole nano-units, other amounts in the account's currency."""

    clicks: int = 0
    unique_clicks: int = 0
    click_cost: Decimal = Decimal(0)
    conversions: int = 0
    pending_conversions: int = 0
    rejected_conversions: int = 0
    revenue: Decimal = Decimal(0)
    pending_revenue: Decimal = Decimal(0)
    rejected_revenue: Decimal = Decimal(0)
    conversion_cost: Decimal = Decimal(0)

    def plus(self, other: "Slice") -> "Slice":
        """The sum, exact."""
        return Slice(
            self.clicks + other.clicks,
            self.unique_clicks + other.unique_clicks,
            _CONTEXT.add(self.click_cost, other.click_cost),
            self.conversions + other.conversions,
            self.pending_conversions + other.pending_conversions,
            self.rejected_conversions + other.rejected_conversions,
            _CONTEXT.add(self.revenue, other.revenue),
            _CONTEXT.add(self.pending_revenue, other.pending_revenue),
            _CONTEXT.add(self.rejected_revenue, other.rejected_revenue),
            _CONTEXT.add(self.conversion_cost, other.conversion_cost),
        )

    @property
    def cost(self) -> Decimal:
        """All clicks at their own cost, and what approved conversions cost."""
        return _CONTEXT.add(nanos_to_decimal(self.click_cost), self.conversion_cost)


NOTHING: Final = Slice()


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums by traffic class, which is a disjoint and complete split; class 0 holds conversions that wait for their
    click."""

    classes: Mapping[int, Slice] = field(default_factory=dict)

    def of(self, traffic_class: int) -> Slice:
        return self.classes.get(traffic_class, NOTHING)

    @property
    def total(self) -> Slice:
        return add(self.classes.values())


def add(slices: Iterable[Slice]) -> Slice:
    total = NOTHING
    for part in slices:
        total = total.plus(part)
    return total


def add_sums(many: Iterable[Sums]) -> Sums:
    """The sums of several groups together, class by class."""
    classes: dict[int, Slice] = {}
    for sums in many:
        for traffic_class, part in sums.classes.items():
            classes[traffic_class] = classes.get(traffic_class, NOTHING).plus(part)
    return Sums(classes)


@dataclass(frozen=True, slots=True)
class Figures:
    """What reports show. A quotient is None where its denominator is 0."""

    sums: Sums

    def as_fields(self) -> dict[str, int | Decimal | None]:
        """The fields of `/stats` in the order of its sample, then what stands beside them."""
        total = self.sums.total
        real, bot, vpn = (self.sums.of(traffic_class) for traffic_class in (REAL, BOT, VPN))
        profit = _CONTEXT.subtract(total.revenue, total.cost)
        return {
            "clicks": total.clicks,
            "unique_clicks": total.unique_clicks,
            "real_clicks": real.clicks,
            "bot_clicks": bot.clicks,
            "vpn_clicks": vpn.clicks,
            "conversions": total.conversions,
            "revenue": total.revenue,
            "cost": total.cost,
            "profit": profit,
            "roi": percent(profit, total.cost),
            "cr": percent(total.conversions, real.clicks),
            "epc": quotient(total.revenue, total.clicks),
            "pending_conversions": total.pending_conversions,
            "pending_revenue": total.pending_revenue,
            "rejected_conversions": total.rejected_conversions,
            "rejected_revenue": total.rejected_revenue,
            "unique_real_clicks": real.unique_clicks,
            "unique_bot_clicks": bot.unique_clicks,
            "unique_vpn_clicks": vpn.unique_clicks,
            "real_conversions": real.conversions,
            "real_revenue": real.revenue,
            "real_cost": real.cost,
            "cr_all": percent(total.conversions, total.clicks),
            "cr_unique": percent(total.conversions, total.unique_clicks),
            "epc_real": quotient(total.revenue, real.clicks),
            "epc_unique": quotient(total.revenue, total.unique_clicks),
        }


def quotient(numerator: Decimal | int, denominator: Decimal | int) -> Decimal | None:
    """None where there is nothing to divide by."""
    return None if denominator == 0 else _CONTEXT.divide(Decimal(numerator), Decimal(denominator))


def percent(numerator: Decimal | int, denominator: Decimal | int) -> Decimal | None:
    return quotient(_CONTEXT.multiply(Decimal(numerator), _HUNDRED), denominator)
