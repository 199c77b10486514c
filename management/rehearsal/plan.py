"""The demo's traffic: a pure function of a seed, the number of clicks and the operator's address lists."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Final

from management.rehearsal.listed_addresses import ListedAddresses
from management.rehearsal.people import HOMES, PAGES, PROGRAMS, REFERRERS, browser
from management.rehearsal.visits import Visit


class Visitor(Enum):
    """What the visitor is, and so the class that its clicks must be given."""

    PERSON = "real"
    PROGRAM = "bot"
    MASKED = "vpn"


@dataclass(frozen=True, slots=True)
class PlannedCampaign:
    """Amounts are decimal text."""

    name: str
    cost_model: str
    cost_value: str
    default_payout: str


@dataclass(frozen=True, slots=True)
class Postback:
    """One conversion call for the click it follows; `payout` None: the call names none."""

    transaction_id: str
    status: str
    payout: str | None

    def parameters(self, click_id: str) -> dict[str, str]:
        named = {"clickid": click_id, "txid": self.transaction_id, "status": self.status}
        return named if self.payout is None else named | {"payout": self.payout}


@dataclass(frozen=True, slots=True)
class PlannedVisit:
    """One request for the link of campaign number `campaign`, and the postbacks that follow it, in order."""

    campaign: int
    visitor: Visitor
    visit: Visit
    postbacks: tuple[Postback, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether it is a click: a HEAD or a prefetch is in no figure."""
        return self.visit.method == "GET" and not self.visit.prefetch


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it, in the order in which it is sent."""

    campaigns: tuple[PlannedCampaign, ...]
    visits: tuple[PlannedVisit, ...]


CAMPAIGNS: Final = (
    PlannedCampaign("Search ads, cpc 0.35", "cpc", "0.35", "9.90"),
    PlannedCampaign("Banner network, cpm 2.7531", "cpm", "2.7531", "7.50"),
    PlannedCampaign("Affiliate offer, cpa 6.40", "cpa", "6.40", "12.25"),
)
_CAMPAIGN_WEIGHTS: Final = (5, 3, 2)
_VISITOR_WEIGHTS: Final = (78, 14, 8)
_RETURNING: Final = 0.25
_UNCOUNTED: Final = 0.04
_CONVERTING: Final = 0.09
# An open channel holds a payout of more than ten times the campaign's default: all stay well below.
_LOWEST_PAYOUT, _HIGHEST_PAYOUT = 500_000, 60_000_000


def make_plan(seed: int, clicks: int, listed: ListedAddresses) -> Plan:
    """`clicks` clicks, with HEADs, prefetches and postbacks among them. The same arguments give the same plan."""
    chance = Random(seed)
    return Plan(CAMPAIGNS, tuple(_visits(chance, clicks, listed)))


def _visits(chance: Random, clicks: int, listed: ListedAddresses) -> Iterator[PlannedVisit]:
    known: list[tuple[Visitor, Visit]] = []
    conversions = 0
    for _ in range(clicks):
        if known and chance.random() < _RETURNING:
            visitor, visit = chance.choice(known)
        else:
            visitor, visit = _newcomer(chance, listed)
            known.append((visitor, visit))
        visit = replace(visit, sub1=chance.choice(PAGES))
        campaign = chance.choices(range(len(CAMPAIGNS)), _CAMPAIGN_WEIGHTS)[0]
        if chance.random() < _UNCOUNTED:
            ahead = {"prefetch": True} if chance.random() < 0.5 else {"method": "HEAD"}
            yield PlannedVisit(campaign, visitor, replace(visit, **ahead))
        postbacks: tuple[Postback, ...] = ()
        if visitor is not Visitor.PROGRAM and chance.random() < _CONVERTING:
            # In turn, so that even a short demo has each of them.
            story = _STORIES[conversions % len(_STORIES)]
            conversions += 1
            postbacks = story(f"order-{conversions}", _payout(chance))
        yield PlannedVisit(campaign, visitor, visit, postbacks)


def _newcomer(chance: Random, listed: ListedAddresses) -> tuple[Visitor, Visit]:
    visitor = chance.choices(tuple(Visitor), _VISITOR_WEIGHTS)[0]
    if visitor is Visitor.MASKED and not listed.has_vpn:
        visitor = Visitor.PERSON
    language, address = listed.draw_home(HOMES, chance)
    if visitor is Visitor.MASKED:
        address = listed.draw_vpn(chance)
    agent = chance.choice(PROGRAMS) if visitor is Visitor.PROGRAM else browser(chance)
    return visitor, Visit(str(address), agent, chance.choice(REFERRERS), language=language)


def _payout(chance: Random) -> str:
    """Decimal text with two or with all six decimals."""
    millionths = chance.randrange(_LOWEST_PAYOUT, _HIGHEST_PAYOUT)
    if chance.random() < 0.7:
        millionths -= millionths % 10_000
    whole, fraction = divmod(millionths, 1_000_000)
    return f"{whole}.{fraction:06d}" if fraction % 10_000 else f"{whole}.{fraction // 10_000:02d}"


def _approved(order: str, payout: str) -> tuple[Postback, ...]:
    return (Postback(order, "approved", payout),)


def _repeated(order: str, payout: str) -> tuple[Postback, ...]:
    return (Postback(order, "approved", payout),) * 3


def _pending(order: str, payout: str) -> tuple[Postback, ...]:
    return (Postback(order, "pending", payout),)


def _confirmed(order: str, payout: str) -> tuple[Postback, ...]:
    return (Postback(order, "pending", payout), Postback(order, "approved", payout))


def _refunded(order: str, payout: str) -> tuple[Postback, ...]:
    return (Postback(order, "approved", payout), Postback(order, "refunded", payout))


def _without_payout(order: str, _: str) -> tuple[Postback, ...]:
    return (Postback(order, "approved", None),)


_STORIES: Final[tuple[Callable[[str, str], tuple[Postback, ...]], ...]] = (
    _approved, _repeated, _pending, _refunded, _without_payout, _approved, _confirmed, _approved,
)  # fmt: skip
