"""What a click's event says and what it leaves out; the values of its macros; the bound on its size.

Its acceptance by ingest is covered by ingest's own tests; a whole request is in integration/edge.
"""

import orjson
import pytest

from edge.click_event import bounded, click_event
from edge.client_ip import IpStorage
from edge.decide import decide
from edge.macro_values import MacroSource, macro_values
from edge.parse import LinkParameters, link_parameters
from edge.visitor import VisitorKeys
from shared.events import Event
from shared.journal import MAX_PAYLOAD
from shared.macros import CLICK_MACROS
from shared.money import NANO
from shared.traffic import ClickMode, Flag
from tests.unit.edge.builders import (
    NOON_MS,
    account,
    address,
    agent_verdict,
    campaign,
    click_request,
    network_verdict,
    verdict,
)

KEYS = VisitorKeys("v" * 16, "w" * 16, "a" * 16, "b" * 16, False)
CAMPAIGN = campaign(click_cost=NANO // 2, cost_param="cost")


def parameters(query: bytes = b"") -> LinkParameters:
    return link_parameters(query, CAMPAIGN.source)


def event(
    query: bytes = b"", keys: VisitorKeys = KEYS, ip_storage: IpStorage = "truncated", ip: str = "203.0.113.77",
    flags: int = 0, location: str = "https://shop.example/",
) -> Event:  # fmt: skip
    return click_event(
        "clk_x", NOON_MS, int(ClickMode.CLICK), CAMPAIGN, click_request(address=address(ip)), parameters(query),
        (verdict(flags=flags), agent_verdict(), network_verdict()), decide(CAMPAIGN, account(), bot=False), keys,
        location, ip_storage,
    )  # fmt: skip


def test_the_event_carries_who_what_and_why() -> None:
    found = event(b"sub1=a&gclid=G&color=red&external_id=E")
    assert (found["account"], found["campaign"], found["ts"], found["visitor"]) == (1, 7, NOON_MS, "v" * 16)
    assert (found["country"], found["asn"], found["device"], found["os"]) == ("AT", 8447, "mobile", "Android")
    details = found["details"]
    assert details["subs"] == {"sub1": "a"}
    assert details["platform_ids"] == {"gclid": "G"}
    assert details["params"] == {"color": "red"}
    assert details["external_id"] == "E"
    assert details["link"] == ("campaign_active", "destination")
    assert details["scheme"] == "https"


@pytest.mark.parametrize(
    ("storage", "ip", "kept"),
    [
        ("truncated", "203.0.113.77", "203.0.113.0"),
        ("truncated", "2001:db8:1:2:3::4", "2001:db8:1::"),
        ("full", "203.0.113.77", "203.0.113.77"),
        ("none", "203.0.113.77", ""),
    ],
)
def test_the_address_is_cut_before_anything_is_written(storage: IpStorage, ip: str, kept: str) -> None:
    found = event(ip_storage=storage, ip=ip)
    assert found["ip"] == kept
    if storage != "full":
        assert ip.encode() not in orjson.dumps(found)


def test_the_links_cost_beats_the_campaigns() -> None:
    own, given = event(), event(b"cost=0.01")
    assert (own["cost"], own["cost_from"]) == (NANO // 2, 0)
    assert (given["cost"], given["cost_from"]) == (NANO // 100, 1)
    free = event(b"cost=0")
    assert (free["cost"], free["cost_from"]) == (0, 1)


def test_flags_of_verdict_parameters_and_salt_come_together() -> None:
    found = event(b"cost=x", keys=KEYS._replace(derived=True), flags=int(Flag.RELAY))
    assert found["flags"] == Flag.RELAY | Flag.COST_IGNORED | Flag.SALT_DERIVED


def test_an_event_that_no_record_can_hold_gives_way_where_a_stranger_made_it_long() -> None:
    long = event(b"&".join(b"p%d=%s" % (number, b"x" * 1024) for number in range(90)) + b"&sub1=kept")
    payload = bounded(long)
    assert len(payload) <= MAX_PAYLOAD
    found = orjson.loads(payload)
    assert found["flags"] & Flag.TRUNCATED_PARAMETERS
    assert found["details"]["params"] == {}


def test_the_largest_event_a_stranger_can_make_fits_a_record() -> None:
    quotes = b"%22" * 1024
    names = [b"sub%d" % number for number in range(1, 21)]
    names += [b"gclid", b"wbraid", b"gbraid", b"fbclid", b"ttclid", b"msclkid", b"external_id"]
    query = b"&".join(name + b"=" + quotes for name in names)
    assert len(bounded(event(query, location="https://shop.example/?" + "x" * 100_000))) <= MAX_PAYLOAD


def test_an_event_of_usual_size_is_left_alone() -> None:
    usual = event(b"color=red")
    assert orjson.loads(bounded(usual))["details"]["params"] == {"color": "red"}


def source(query: bytes = b"", cost: int = NANO // 4) -> MacroSource:
    return MacroSource(
        "clk_x", CAMPAIGN, parameters(query), agent_verdict(), network_verdict(), "de", "news.example", cost, NOON_MS
    )


def test_every_macro_has_a_value() -> None:
    query = "&".join(
        [f"sub{n}=s{n}" for n in range(1, 21)]
        + [f"{name}=x" for name in ("external_id", "gclid", "wbraid", "gbraid", "fbclid", "ttclid", "msclkid")]
    )
    values = macro_values(tuple(sorted(CLICK_MACROS)), source(query.encode()))
    assert values.keys() == CLICK_MACROS
    assert all(values.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clickid", "clk_x"),
        ("click_id", "clk_x"),
        ("campaign_id", "7"),
        ("campaign_name", "Spring sale"),
        ("sub_id", "A"),
        ("sub20", ""),
        ("country", "AT"),
        ("asn", "8447"),
        ("os_version", "15"),
        ("language", "de"),
        ("referrer_domain", "news.example"),
        ("cost", "0.25"),
        ("timestamp", str(NOON_MS // 1000)),
        ("utm_source", "mail"),
        ("param:color", "red"),
        ("param:sub1", "A"),
        ("param:nothing", ""),
    ],
)
def test_macro_values(name: str, value: str) -> None:
    assert macro_values((name,), source(b"sub1=A&utm_source=mail&color=red")) == {name: value}


@pytest.mark.parametrize(("cost", "text"), [(0, "0"), (NANO, "1"), (1, "0.000000001"), (123_456_000, "0.123456000")])
def test_a_cost_is_a_plain_decimal(cost: int, text: str) -> None:
    value = macro_values(("cost",), source(cost=cost))["cost"]
    assert "e" not in value.lower()
    assert float(value) == float(text)
