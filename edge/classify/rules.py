"""The rule table: from the signals of a click to its class, fraud type, flags, score and every reason.

Pure. A rule adds points and flags; the class and fraud type follow from the flags alone, so no rule can contradict
another. A change that can change a label raises shared.traffic.RULES_VERSION.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.classify.signals import (
    BOT_KINDS,
    CATEGORY_NAMES,
    CRAWLER,
    DATACENTER,
    DECLARED_KINDS,
    EXEMPT_KINDS,
    RELAY,
    RESIDENTIAL,
    TOR,
    VPN,
    Signals,
    json_members,
)
from shared.traffic import Flag, FraudType, TrafficClass

Reason = tuple[str, int]

_BOT = int(Flag.BOT)
_VPN = int(Flag.VPN)
_DATACENTER = int(Flag.DATACENTER)
_VERIFIED = int(Flag.VERIFIED)
_HIGHEST_SCORE = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason: its code and points (0: noted only), the flags it sets, when it fires."""

    code: str
    points: int
    flags: int
    fires: Callable[[Signals], bool]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one click. `traffic_class` and `fraud_type` are numbers of shared.traffic, `flags` a set of
    its Flag bits, `score` the points of all reasons, at most 100."""

    traffic_class: int
    fraud_type: int
    flags: int
    score: int
    reasons: tuple[Reason, ...]
    bot_action_exempt: bool
    """A verified crawler of a search engine or ad platform: a campaign's `bot_action` never applies to it."""
    in_event: bytes = field(init=False, repr=False, compare=False)
    """The members of a click's event that the verdict alone decides (shared.events), as JSON without braces: there
    are few verdicts, so they are encoded once and not for every click."""
    in_details: bytes = field(init=False, repr=False, compare=False)
    """The same for the event's `details`."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # the way into a frozen dataclass
        members = {"class": self.traffic_class, "fraud": self.fraud_type, "score": self.score}
        put(self, "in_event", json_members(members))
        put(self, "in_details", json_members({"reasons": self.reasons}))


def _agent_is(kind: str) -> Callable[[Signals], bool]:
    return lambda signals: signals.bot_kind == kind


def _address_is(category: int) -> Callable[[Signals], bool]:
    return lambda signals: signals.kind == category


def _also_listed(category: int) -> Callable[[Signals], bool]:
    return lambda signals: signals.categories & category != 0 and signals.kind != category


def _is_verified_crawler(signals: Signals) -> bool:
    return signals.bot_kind in DECLARED_KINDS and signals.categories & CRAWLER != 0


def _is_spoofed_crawler(signals: Signals) -> bool:
    return signals.crawler_ranges_known and signals.publishes_ranges and not signals.categories & CRAWLER


RULES: tuple[Rule, ...] = (
    *(
        Rule(f"{kind}_agent", 100, _BOT | (int(Flag.PREVIEW) if kind == "preview" else 0), _agent_is(kind))
        for kind in BOT_KINDS
    ),
    Rule("verified_crawler", 0, _VERIFIED, _is_verified_crawler),
    Rule("spoofed_crawler", 100, int(Flag.SPOOFED), _is_spoofed_crawler),
    Rule("allow_listed_address", 0, int(Flag.ALLOW_LISTED), _address_is(RESIDENTIAL)),
    Rule("relay_address", 0, int(Flag.RELAY), _address_is(RELAY)),
    Rule("tor_address", 60, int(Flag.TOR), _address_is(TOR)),
    Rule("crawler_address", 0, int(Flag.CRAWLER), _address_is(CRAWLER)),
    Rule("vpn_address", 50, 0, _address_is(VPN)),
    Rule("datacenter_address", 50, _DATACENTER, _address_is(DATACENTER)),
    # a category that a stronger one overrules stays visible: it explains why the address counts as something else
    *(Rule(f"also_listed_{CATEGORY_NAMES[category]}", 0, 0, _also_listed(category)) for category in CATEGORY_NAMES),
    Rule("prefetch", 0, 0, lambda signals: signals.prefetch),
    Rule("no_country", 0, int(Flag.NO_GEO), lambda signals: not signals.has_country),
)

_MASKED_KINDS = frozenset({TOR, VPN, DATACENTER})
"""Kinds of address that make a visitor who is no bot a `vpn`; relay, crawler range and allow list never do."""


def judge(signals: Signals) -> Verdict:
    """The verdict on one click; every rule of RULES that fires is among its reasons."""
    flags = points = 0
    reasons = []
    for rule in RULES:
        if rule.fires(signals):
            flags |= rule.flags
            points += rule.points
            reasons.append((rule.code, rule.points))
    if not flags & _BOT and signals.kind in _MASKED_KINDS:
        flags |= _VPN
    return Verdict(
        traffic_class=_traffic_class(flags),
        fraud_type=_fraud_type(flags),
        flags=flags,
        score=min(points, _HIGHEST_SCORE),
        reasons=tuple(reasons),
        bot_action_exempt=bool(flags & _VERIFIED) and signals.bot_kind in EXEMPT_KINDS,
    )


def _traffic_class(flags: int) -> int:
    if flags & _BOT:
        return int(TrafficClass.BOT)
    if flags & _VPN:
        return int(TrafficClass.VPN)
    return int(TrafficClass.REAL)


def _fraud_type(flags: int) -> int:
    if flags & _BOT:
        return int(FraudType.BOT)
    if flags & _DATACENTER:
        return int(FraudType.DATACENTER)
    if flags & _VPN:
        return int(FraudType.VPN)
    return int(FraudType.NONE)
