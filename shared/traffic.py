"""What a click was and what became of it: the numbers that the edge stores and management counts.

Every number here is written into events and tables, so it is fixed for ever: members are added, never renumbered.
Attribute access on an IntEnum costs more than a whole look-up on the click path; code that runs per click binds
the plain ints it needs at module level (`BOT = int(TrafficClass.BOT)`).
"""

from enum import IntEnum, IntFlag

RULES_VERSION = 1
"""Version of the rule set that gave a click its labels. Raised with every change that can change a label."""


class TrafficClass(IntEnum):
    """The disjoint, complete split of all clicks that every figure uses. Decided at the edge by edge.classify.rules;
    only a re-scoring changes it."""

    UNKNOWN = 0
    """Not judged: a record from before its class was known. Never written by the edge."""
    REAL = 1
    """Neither of the two below."""
    BOT = 2
    """A program, whatever its address."""
    VPN = 3
    """A visitor who is no bot behind a VPN, an open proxy, a Tor exit or a hosting address."""


class FraudType(IntEnum):
    """The one reason for which a click is counted as fraudulent: the first that holds of BOT, DATACENTER, VPN,
    RAPID_FIRE, DUPLICATE, CLICK_FARM. The first three are decided at the edge, the windows provisionally there and
    finally in fold, the click farm by the hourly sweep."""

    NONE = 0
    """Not fraudulent."""
    BOT = 1
    """The class is bot, verified crawlers included."""
    DATACENTER = 2
    """A hosting address that is no relay, crawler, VPN, Tor or allow-listed one."""
    VPN = 3
    """A VPN's address, an open proxy or a Tor exit; never a privacy relay."""
    RAPID_FIRE = 4
    """More clicks of one visitor or address in a window than a person makes."""
    DUPLICATE = 5
    """The same visitor on the same campaign again within the campaign's window."""
    CLICK_FARM = 6
    """One of many like clicks from one network and sub-source."""


class Outcome(IntEnum):
    """What the visitor was answered. Decided at the edge by edge.decide and never changed."""

    REDIRECTED = 1
    """Sent to the campaign's destination."""
    FALLBACK = 2
    """Sent to the fallback by the campaign's own `bot_action`: shown as `cloaked`."""
    PAUSED = 3
    """The campaign is paused: fallback or 404."""
    INACTIVE = 4
    """The campaign is not active yet or no longer: fallback or 404."""
    CAPPED = 5
    """A cap is used up: fallback or 404."""
    NO_DESTINATION = 6
    """The campaign has nowhere to send the visitor: fallback or 404."""
    SUSPENDED = 7
    """The account is suspended: its fallback or 410."""
    BLOCKED = 8
    """Answered 404 by the campaign's own `bot_action`: shown as `cloaked`."""


class ClickMode(IntEnum):
    """How the link was asked for. Decided at the edge; only CLICK is in the figures."""

    CLICK = 1
    """A GET that someone or something meant."""
    HEAD = 2
    """A HEAD: answered like the GET, followed by nobody."""
    PREFETCH = 3
    """A browser fetching or rendering ahead of its user (edge.classify.headers)."""


class Flag(IntFlag):
    """Independent facts about one click. A bit says what was seen; class and fraud type say what follows from it."""

    BOT = 1 << 0
    """`is_bot`: the agent is a program's. Decided by edge.classify.rules."""
    VPN = 1 << 1
    """`is_vpn`: vpn, open proxy, tor or hosting address of a visitor who is no bot. edge.classify.rules."""
    RELAY = 1 << 2
    """`is_relay`: egress of a privacy relay, a person. edge.classify.network."""
    TOR = 1 << 3
    """Tor exit. edge.classify.network."""
    DATACENTER = 1 << 4
    """Hosting address on which nothing stronger is listed. edge.classify.network."""
    CRAWLER = 1 << 5
    """Address in a range that a crawler's operator publishes. edge.classify.network."""
    PREVIEW = 1 << 6
    """A link preview's agent: no caps, no uniqueness, no conversions. edge.classify.rules."""
    VERIFIED = 1 << 7
    """The agent names a crawler and the address is in a crawler's range. edge.classify.rules."""
    SUSPICIOUS = 1 << 8
    """Header points of 30 to 59: noted, not enough for a bot. edge.classify.rules."""
    TRUNCATED_PARAMETERS = 1 << 9
    """The link carried more or longer parameters than are kept. edge.parse."""
    COST_IGNORED = 1 << 10
    """The link carried a `cost=` that does not count. edge.parse."""
    SALT_DERIVED = 1 << 11
    """The visitor key was made with a derived salt: the edge had been cut off for too long. edge.routing_table."""
    NO_GEO = 1 << 12
    """No country is known for the address. edge.classify.rules."""
    SPOOFED = 1 << 13
    """Claims a crawler whose operator publishes its ranges, from elsewhere. edge.classify.rules."""
    ALLOW_LISTED = 1 << 14
    """Address on the operator's residential allow list. edge.classify.network."""
    CLOCK_SUSPECT = 1 << 15
    """The edge's clock had been stepped: the reported time is what it would have said without. edge.clock."""


CLASS_NAMES = {int(member): member.name.lower() for member in TrafficClass}
FRAUD_NAMES = {int(member): member.name.lower() for member in FraudType}
OUTCOME_NAMES = {int(member): member.name.lower() for member in Outcome}
MODE_NAMES = {int(member): member.name.lower() for member in ClickMode}

CLOAKED = "cloaked"
_CLOAKING_OUTCOMES = frozenset({int(Outcome.FALLBACK), int(Outcome.BLOCKED)})


def status_name(traffic_class: int, outcome: int) -> str:
    """The `status` of a click in lists: its class in lower case, or `cloaked` when the campaign's own `bot_action`
    kept the click from the destination. Figures still count such a click under its class."""
    if outcome in _CLOAKING_OUTCOMES:
        return CLOAKED
    return CLASS_NAMES[traffic_class]


def flag_names(flags: int) -> tuple[str, ...]:
    """The names of the set bits in lower case, lowest bit first; bits without a name are left out."""
    return tuple((member.name or "").lower() for member in Flag if flags & member)
