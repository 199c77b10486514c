"""The values of destination macros for one click, worked out only for the macros that a destination has."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

from edge.classify import AgentVerdict, NetworkVerdict
from edge.parse import PLATFORM_IDS, SUBS, LinkParameters
from edge.table import Campaign
from shared.macros import CLICK_MACROS
from shared.money import NANO


class MacroSource(NamedTuple):
    """Everything that macros speak of."""

    click_id: str
    campaign: Campaign
    parameters: LinkParameters
    agent: AgentVerdict
    network: NetworkVerdict
    language: str
    referrer_domain: str
    cost: int
    now_ms: int


def macro_values(names: tuple[str, ...], source: MacroSource) -> dict[str, str]:
    """Name → value for `names`, all of them known macros (shared.macros)."""
    values: dict[str, str] = {}
    for name in names:
        read = _VALUES.get(name)
        if read is not None:
            values[name] = read(source)
        else:
            # utm_… and param:… name a parameter of the link
            values[name] = source.parameters.given.get(name.removeprefix("param:"), "")
    return values


def _cost(source: MacroSource) -> str:
    return f"{Decimal(source.cost) / NANO:f}"


def _asn(source: MacroSource) -> str:
    return str(source.network.asn) if source.network.asn else ""


def _sub(name: str) -> Callable[[MacroSource], str]:
    return lambda source: source.parameters.subs.get(name, "")


def _platform_id(name: str) -> Callable[[MacroSource], str]:
    return lambda source: source.parameters.platform_ids.get(name, "")


_VALUES: Final[dict[str, Callable[[MacroSource], str]]] = {
    "clickid": lambda source: source.click_id,
    "click_id": lambda source: source.click_id,
    "campaign_id": lambda source: str(source.campaign.id),
    "campaign_uuid": lambda source: source.campaign.row.uuid,
    "campaign_name": lambda source: source.campaign.row.name,
    "sub_id": _sub("sub1"),
    "external_id": lambda source: source.parameters.external_id,
    "country": lambda source: source.network.country,
    "region": lambda source: source.network.region,
    "city": lambda source: source.network.city,
    "isp": lambda source: source.network.isp,
    "asn": _asn,
    "device": lambda source: source.agent.device,
    "os": lambda source: source.agent.os,
    "os_version": lambda source: source.agent.os_version,
    "browser": lambda source: source.agent.browser,
    "browser_version": lambda source: source.agent.browser_version,
    "language": lambda source: source.language,
    "referrer_domain": lambda source: source.referrer_domain,
    "cost": _cost,
    "timestamp": lambda source: str(source.now_ms // 1000),
    "random": lambda source: str(random.getrandbits(32)),
    **{name: _platform_id(name) for name in PLATFORM_IDS},
    **{name: _sub(name) for name in SUBS},
}
assert _VALUES.keys() == CLICK_MACROS
