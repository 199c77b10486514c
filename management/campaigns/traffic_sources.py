"""The built-in traffic sources 1–99, which every account may name: how each calls its click id and its cost.

`click_id_param` fills `external_id` when the link does not carry one; `cost_param` is where a per-click cost may
stand (security X11: without it `cost=` never counts). Ad platforms append their own click id to the landing URL and
tell no cost; native, push and pop networks fill what the link asks for by their macros, so their link uses our names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class TrafficSource:
    """`sub_params` maps our sub id to the source's name for it: `{"sub1": "zone"}`."""

    id: int
    name: str
    click_id_param: str | None = None
    cost_param: str | None = None
    sub_params: Mapping[str, str] = field(default_factory=dict)


_BUILT_IN: Final = (
    TrafficSource(1, "Generic", "external_id", "cost"),
    # platforms that append their click id themselves
    TrafficSource(2, "Google Ads", "gclid"),
    TrafficSource(3, "Meta Ads", "fbclid"),
    TrafficSource(4, "Microsoft Advertising", "msclkid"),
    TrafficSource(5, "TikTok Ads", "ttclid"),
    TrafficSource(6, "X Ads", "twclid"),
    TrafficSource(7, "LinkedIn Ads", "li_fat_id"),
    TrafficSource(8, "Snapchat Ads", "ScCid"),
    TrafficSource(9, "Pinterest Ads", "epik"),
    TrafficSource(10, "Reddit Ads", "rdt_cid"),
    TrafficSource(11, "Yandex Direct", "yclid"),
    TrafficSource(12, "Taboola", "tblci"),
    TrafficSource(13, "Outbrain", "dicbo"),
    # networks whose macros stand in our own parameters
    TrafficSource(30, "PropellerAds", "external_id", "cost", {"sub1": "zoneid", "sub2": "campaignid"}),
    TrafficSource(31, "Adsterra", "external_id", "cost", {"sub1": "placement_id"}),
    TrafficSource(32, "ExoClick", "external_id", "cost", {"sub1": "zone_id", "sub2": "site_id"}),
    TrafficSource(33, "TrafficJunky", "aclid", "cost"),
    TrafficSource(34, "Zeropark", "cid", "cost", {"sub1": "target"}),
    TrafficSource(35, "RichAds", "external_id", "cost", {"sub1": "site_id"}),
    TrafficSource(36, "MGID", "external_id", "cost", {"sub1": "widget_id"}),
)

TRAFFIC_SOURCES: Final[Mapping[int, TrafficSource]] = {source.id: source for source in _BUILT_IN}
assert len(TRAFFIC_SOURCES) == len(_BUILT_IN)
assert all(1 <= number <= 99 for number in TRAFFIC_SOURCES)
