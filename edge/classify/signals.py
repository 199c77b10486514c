"""What is known about a click before it is judged: plain values, no I/O, no parsing.

The two verdicts are not frozen, because a flood of new agents or networks makes one for every click and a frozen
dataclass takes three times as long; nothing changes them.

user_agent.py and network.py make the two verdicts, rules.py reads `Signals` and nothing else.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

# Categories of address lists, one bit each; an address may be on several lists.
RESIDENTIAL = 1
RELAY = 2
TOR = 4
CRAWLER = 8
VPN = 16
DATACENTER = 32

CATEGORY_NAMES = {
    RESIDENTIAL: "residential",
    RELAY: "relay",
    TOR: "tor",
    CRAWLER: "crawler",
    VPN: "vpn",
    DATACENTER: "datacenter",
}
"""In order of precedence: the first that an address is on says what the address is. The operator's allow list stands
first; relays stand before hosting ranges because their egress addresses lie inside them."""


BOT_KINDS = (
    "search_engine",
    "ad_platform",
    "ai_crawler",
    "crawler",
    "feed_reader",
    "preview",
    "monitor",
    "scanner",
    "library",
    "headless",
    "program",
    "short",
)
"""Kinds of bot. `crawler` is any crawler that is none of the three before it, `program` one that only its words or
shape give away, `short` an agent that is empty or shorter than any browser's."""

DECLARED_KINDS = frozenset(
    {"search_engine", "ad_platform", "ai_crawler", "crawler", "feed_reader", "preview", "monitor", "scanner"}
)
"""Kinds that say who they are, so that a published address range can bear them out."""

EXEMPT_KINDS = frozenset({"search_engine", "ad_platform"})
"""Kinds that a campaign's `bot_action` leaves alone once their address is verified."""


def json_members(members: dict[str, Any]) -> bytes:
    """`members` as JSON without the braces around them, to be put into an object with others."""
    return orjson.dumps(members)[1:-1]


@dataclass(slots=True)
class AgentVerdict:
    """What a user-agent string says. Texts are never None; `Other` stands for an unknown system or browser, the
    empty string for a version that is not named."""

    is_bot: bool
    bot_kind: str
    """Empty for a person, else one of BOT_KINDS."""
    bot_name: str
    """The program's name as its pattern spells it; empty where only its shape gives it away."""
    publishes_ranges: bool
    """Whether the operator of the crawler that is named publishes the addresses it comes from."""
    device: str
    """mobile tablet desktop tv console wearable car other, or bot."""
    os: str
    os_version: str
    browser: str
    """`Other` for every bot: what a program pretends to be is not counted among browsers."""
    browser_version: str
    in_event: bytes = field(init=False, repr=False, compare=False)
    """The members of a click's event that the agent alone decides (shared.events), as JSON without braces: encoded
    once an agent instead of once a click."""
    in_details: bytes = field(init=False, repr=False, compare=False)
    """The same for the event's `details`."""

    def __post_init__(self) -> None:
        self.in_event = json_members({"device": self.device, "os": self.os, "browser": self.browser})
        self.in_details = json_members(
            {
                "os_version": self.os_version,
                "browser_version": self.browser_version,
                "bot": self.bot_name,
                "bot_kind": self.bot_kind,
            }
        )


@dataclass(slots=True)
class NetworkVerdict:
    """What is known about an address. `country` is ISO 3166 alpha-2 or ZZ, `asn` 0 when unknown, texts are empty when
    unknown. `kind` is the one category bit that decides (0: nothing is listed), `categories` all that matched."""

    country: str
    region: str
    city: str
    isp: str
    asn: int
    kind: int
    categories: int
    in_event: bytes = field(init=False, repr=False, compare=False)
    """As of an agent's verdict: addresses of one network and place share one verdict."""
    in_details: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.in_event = json_members({"country": self.country, "asn": self.asn})
        self.in_details = json_members({"region": self.region, "city": self.city, "isp": self.isp})


class Signals(NamedTuple):
    """The facts that rules.py judges. Few values each, so that equal ones recur and a judgement can be remembered."""

    bot_kind: str
    publishes_ranges: bool
    kind: int
    categories: int
    has_country: bool
    crawler_ranges_known: bool
    """Whether a list of crawler ranges is loaded at all: without one nobody can be off it."""
    prefetch: bool
