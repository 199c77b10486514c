"""The values of destination macros for one click, worked out only for the macros that a destination has."""

import random
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from edge.classify import AgentVerdict, NetworkVerdict
from edge.click_request import ClickRequest
from edge.parse import PLATFORM_IDS, SUBS, LinkParameters
from shared.macros import CLICK_MACROS, UrlTemplate
from shared.money import NANO

if TYPE_CHECKING:
    from edge.table import Campaign

_Click = tuple[str, "Campaign", LinkParameters, AgentVerdict, NetworkVerdict, ClickRequest, int]
"""Everything that macros speak of; a bare tuple, because one is made for every redirect."""
_CLICK_ID: Final = 0
_CAMPAIGN: Final = 1
_PARAMETERS: Final = 2
_AGENT: Final = 3
_NETWORK: Final = 4
_REQUEST: Final = 5
_NOW_MS: Final = 6

_Reader = Callable[[_Click], str]


class Destination(UrlTemplate):
    """Where visitors are sent: a URL that knows, from when it is loaded, what to read for each of its macros."""

    __slots__ = ("_readers",)

    def __init__(self, url: str) -> None:
        """Raises MacroError for a URL that is no destination."""
        super().__init__(url)
        self._readers = _readers(self.slots)

    def location(
        self,
        click_id: str,
        campaign: "Campaign",
        parameters: LinkParameters,
        agent: AgentVerdict,
        network: NetworkVerdict,
        request: ClickRequest,
        now_ms: int,
    ) -> str:
        """The URL for one click, pure ASCII."""
        click = (click_id, campaign, parameters, agent, network, request, now_ms)
        return self.fill([read(click) for read in self._readers])


@lru_cache(maxsize=1024)
def _readers(slots: tuple[str, ...]) -> tuple[_Reader, ...]:
    """Remembered, because thousands of destinations share a few sets of macros."""
    return tuple(_READERS.get(name) or _given(name) for name in slots)


def _given(name: str) -> _Reader:
    # utm_… and param:… name a parameter of the link
    parameter = name.removeprefix("param:")
    return lambda click: click[_PARAMETERS].given.get(parameter, "")


def _sub(name: str) -> _Reader:
    return lambda click: click[_PARAMETERS].subs.get(name, "")


def _platform_id(name: str) -> _Reader:
    return lambda click: click[_PARAMETERS].platform_ids.get(name, "")


def _cost(click: _Click) -> str:
    cost = click[_PARAMETERS].cost
    return f"{Decimal(click[_CAMPAIGN].row.click_cost if cost is None else cost) / NANO:f}"


def _asn(click: _Click) -> str:
    asn = click[_NETWORK].asn
    return str(asn) if asn else ""


_READERS: Final[dict[str, _Reader]] = {
    "clickid": lambda click: click[_CLICK_ID],
    "click_id": lambda click: click[_CLICK_ID],
    "campaign_id": lambda click: str(click[_CAMPAIGN].id),
    "campaign_uuid": lambda click: click[_CAMPAIGN].row.uuid,
    "campaign_name": lambda click: click[_CAMPAIGN].row.name,
    "sub_id": _sub("sub1"),
    "external_id": lambda click: click[_PARAMETERS].external_id,
    "country": lambda click: click[_NETWORK].country,
    "region": lambda click: click[_NETWORK].region,
    "city": lambda click: click[_NETWORK].city,
    "isp": lambda click: click[_NETWORK].isp,
    "asn": _asn,
    "device": lambda click: click[_AGENT].device,
    "os": lambda click: click[_AGENT].os,
    "os_version": lambda click: click[_AGENT].os_version,
    "browser": lambda click: click[_AGENT].browser,
    "browser_version": lambda click: click[_AGENT].browser_version,
    "language": lambda click: click[_REQUEST].language,
    "referrer_domain": lambda click: click[_REQUEST].referrer_domain,
    "cost": _cost,
    "timestamp": lambda click: str(click[_NOW_MS] // 1000),
    "random": lambda _: str(random.getrandbits(32)),
    **{name: _platform_id(name) for name in PLATFORM_IDS},
    **{name: _sub(name) for name in SUBS},
}
assert _READERS.keys() == CLICK_MACROS
