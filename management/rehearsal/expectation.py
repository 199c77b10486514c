"""The figures that a plan must give: counted here from the plan alone, by the published formulas (api.md section 3).

Nothing of the product's own arithmetic is used, or a fault in it would be expected too.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal

from management.rehearsal.figures import Figures
from management.rehearsal.plan import Plan, PlannedCampaign, PlannedVisit, Postback, Visitor

_EXACT = Context(prec=60)
_PLACES = Decimal("0.0001")
_ADDED = (
    "clicks", "unique", "real", "bot", "vpn", "conversions", "revenue", "cost", "pending", "pending_revenue",
)  # fmt: skip


@dataclass(slots=True)
class _Sums:
    """What the figures are made of, still exact."""

    clicks: int = 0
    unique: int = 0
    real: int = 0
    bot: int = 0
    vpn: int = 0
    conversions: int = 0
    revenue: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    pending: int = 0
    pending_revenue: Decimal = Decimal(0)
    visitors: set[tuple[str, ...]] = field(default_factory=set)


def expected_figures(plan: Plan) -> tuple[tuple[Figures, ...], Figures]:
    """The figures of each campaign, in the plan's order, and of all together."""
    sums = [_Sums() for _ in plan.campaigns]
    for planned in plan.visits:
        if planned.counts:
            _add_click(sums[planned.campaign], plan.campaigns[planned.campaign], planned)
    return tuple(_figures(own) for own in sums), _figures(_together(sums))


def _add_click(sums: _Sums, campaign: PlannedCampaign, planned: PlannedVisit) -> None:
    sums.clicks += 1
    sums.real += planned.visitor is Visitor.PERSON
    sums.bot += planned.visitor is Visitor.PROGRAM
    sums.vpn += planned.visitor is Visitor.MASKED
    sums.visitors.add(_identity(planned))
    sums.unique = len(sums.visitors)
    cost = Decimal(campaign.cost_value)
    if campaign.cost_model == "cpc":
        sums.cost += cost
    elif campaign.cost_model == "cpm":
        sums.cost += cost / 1000
    for status, amount in _conversions(planned.postbacks, campaign):
        if status == "pending":
            sums.pending += 1
            sums.pending_revenue += amount
            continue
        sums.conversions += 1
        sums.revenue += amount
        if campaign.cost_model == "cpa":
            sums.cost += cost


def _identity(planned: PlannedVisit) -> tuple[str, ...]:
    """What tells visitors of a campaign apart: address (of IPv6 the /64), agent and language."""
    visit = planned.visit
    address = ipaddress.ip_address(visit.address)
    place = int(address) >> 64 if address.version == 6 else int(address)
    return (str(address.version), str(place), visit.user_agent, visit.language)


def _conversions(postbacks: Iterable[Postback], campaign: PlannedCampaign) -> Iterable[tuple[str, Decimal]]:
    """Status and amount of each order, once: over an open channel approval is final, so neither a repeat nor a call
    that would take money away changes anything."""
    orders: dict[str, tuple[str, Decimal]] = {}
    for postback in postbacks:
        status, _ = orders.get(postback.transaction_id, ("", None))
        if status != "approved" and postback.status in ("pending", "approved"):
            amount = campaign.default_payout if postback.payout is None else postback.payout
            orders[postback.transaction_id] = (postback.status, Decimal(amount))
    return orders.values()


def _together(sums: Iterable[_Sums]) -> _Sums:
    total = _Sums()
    for own in sums:
        for name in _ADDED:
            setattr(total, name, getattr(total, name) + getattr(own, name))
    return total


def _figures(sums: _Sums) -> Figures:
    profit = sums.revenue - sums.cost
    return Figures(
        clicks=sums.clicks,
        unique_clicks=sums.unique,
        real_clicks=sums.real,
        bot_clicks=sums.bot,
        vpn_clicks=sums.vpn,
        conversions=sums.conversions,
        revenue=_rounded(sums.revenue),
        cost=_rounded(sums.cost),
        profit=_rounded(profit),
        roi=_ratio(profit * 100, sums.cost),
        cr=_ratio(Decimal(sums.conversions * 100), Decimal(sums.real)),
        epc=_ratio(sums.revenue, Decimal(sums.clicks)),
        pending_conversions=sums.pending,
        pending_revenue=_rounded(sums.pending_revenue),
    )


def _ratio(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    return _rounded(_EXACT.divide(numerator, denominator)) if denominator else None


def _rounded(value: Decimal) -> Decimal:
    """To four decimals, half away from zero."""
    return value.quantize(_PLACES, ROUND_HALF_UP)
