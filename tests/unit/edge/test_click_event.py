"""What a click's event says and what it leaves out, that its bytes say the same as the plain construction, and the
bound on its size.

The values of macros: test_macro_values.py. Its acceptance by ingest is covered by ingest's own tests; a whole request
is in integration/edge.
"""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.classify import AgentVerdict, Judgement
from edge.click_event import click_payload
from edge.click_request import ClickRequest
from edge.client_ip import IpStorage, stored_ip
from edge.decide import Decision, decide
from edge.parse import LinkParameters, link_parameters
from edge.table import Campaign
from edge.visitor import VisitorKeys
from shared import events
from shared.events import Event
from shared.journal.record import MAX_PAYLOAD
from shared.money import NANO
from shared.traffic import RULES_VERSION, ClickMode, Flag
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

FOUR = (b"v" * 16, b"w" * 16, b"a" * 16, b"b" * 16)
KEYS: VisitorKeys = (FOUR, False)
CAMPAIGN = campaign(click_cost=NANO // 2, cost_param="cost")
DECISION = decide(CAMPAIGN, account(), bot=False)


def parameters(query: bytes = b"") -> LinkParameters:
    return link_parameters(query, CAMPAIGN.source)


def payload(
    query: bytes = b"", keys: VisitorKeys = KEYS, ip_storage: IpStorage = "truncated", ip: str = "203.0.113.77",
    flags: int = 0, location: str = "https://shop.example/",
) -> bytes:  # fmt: skip
    return click_payload(
        "clk_x", NOON_MS, int(ClickMode.CLICK), CAMPAIGN, click_request(address=address(ip)), parameters(query),
        (verdict(flags=flags), agent_verdict(), network_verdict()), DECISION, keys, location, ip_storage,
    )  # fmt: skip


def event(query: bytes = b"", **changes: Any) -> Event:
    return events.decode(payload(query, **changes))


def plain(
    click_id: str, now_ms: int, mode: int, campaign: Campaign, request: ClickRequest, parameters: LinkParameters,
    judgement: Judgement, decision: Decision, keys: VisitorKeys, location: str, ip_storage: IpStorage,
) -> Event:  # fmt: skip
    """The event as shared.events lists it, member by member."""
    judged, agent, network = judgement
    visitor, visitor_prev, address_key, address_prev = (key.decode() for key in keys[0])
    return {
        "v": events.VERSION,
        "id": click_id,
        "ts": now_ms,
        "account": campaign.account_id,
        "campaign": campaign.id,
        "mode": mode,
        "outcome": decision.outcome,
        "class": judged.traffic_class,
        "fraud": judged.fraud_type,
        "flags": judged.flags | parameters.flags | (Flag.SALT_DERIVED if keys[1] else 0),
        "score": judged.score,
        "rules": RULES_VERSION,
        "cost": campaign.row.click_cost if parameters.cost is None else parameters.cost,
        "cost_from": 0 if parameters.cost is None else 1,
        "visitor": visitor,
        "visitor_prev": visitor_prev,
        "address": address_key,
        "address_prev": address_prev,
        "ip": stored_ip(request.address, ip_storage),
        "country": network.country,
        "asn": network.asn,
        "device": agent.device,
        "os": agent.os,
        "browser": agent.browser,
        "details": {
            "os_version": agent.os_version,
            "browser_version": agent.browser_version,
            "language": request.language,
            "user_agent": request.user_agent,
            "referrer": request.referrer,
            "region": network.region,
            "city": network.city,
            "isp": network.isp,
            "bot": agent.bot_name,
            "bot_kind": agent.bot_kind,
            "subs": parameters.subs,
            "external_id": parameters.external_id,
            "params": parameters.others,
            "platform_ids": parameters.platform_ids,
            "reasons": [list(reason) for reason in judged.reasons],
            "location": location,
            "link": list(decision.how),
            "scheme": request.scheme,
        },
    }


texts = st.text(max_size=20)
agents = st.builds(
    AgentVerdict,
    st.booleans(),
    texts,
    texts,
    st.booleans(),
    st.sampled_from(["mobile", "bot"]),
    texts,
    texts,
    texts,
    texts,
)
networks = st.builds(
    network_verdict, country=st.sampled_from(["AT", "ZZ"]), region=texts, city=texts, isp=texts,
    asn=st.integers(0, (1 << 32) - 1),
)  # fmt: skip
verdicts = st.builds(
    verdict, traffic_class=st.integers(0, 3), fraud_type=st.integers(0, 6), flags=st.integers(0, 1 << 15),
    score=st.integers(0, 100), reasons=st.lists(st.tuples(texts, st.integers(0, 100)), max_size=3).map(tuple),
)  # fmt: skip
requests = st.builds(
    click_request, address=st.ip_addresses().map(lambda number: address(str(number))), user_agent=texts,
    language=texts, referrer=texts, scheme=st.sampled_from(["http", "https"]),
)  # fmt: skip


@given(
    request=requests,
    judgement=st.tuples(verdicts, agents, networks),
    query=st.binary(max_size=60) | st.sampled_from([b"sub1=%22&cost=1.5&gclid=%5C", b"cost=x&external_id=%0A"]),
    campaign_id=st.integers(1, (1 << 32) - 1),
    mode=st.sampled_from([int(mode) for mode in ClickMode]),
    how=st.lists(texts, max_size=2).map(tuple),
    derived=st.booleans(),
    location=texts,
    ip_storage=st.sampled_from(["truncated", "full", "none"]),
)
def test_the_bytes_say_what_the_plain_construction_says(
    request: ClickRequest, judgement: Judgement, query: bytes, campaign_id: int, mode: int, how: tuple[str, ...],
    derived: bool, location: str, ip_storage: IpStorage,
) -> None:  # fmt: skip
    given_campaign = campaign(id=campaign_id, account_id=campaign_id // 2, click_cost=campaign_id, cost_param="cost")
    given = (
        "clk_" + "aZ9_-" * 7, NOON_MS, mode, given_campaign, request, link_parameters(query, given_campaign.source),
        judgement, replace(DECISION, how=how), (FOUR, derived), location, ip_storage,
    )  # fmt: skip
    assert events.decode(click_payload(*given)) == plain(*given)


def test_the_event_carries_who_what_and_why() -> None:
    found = event(b"sub1=a&gclid=G&color=red&external_id=E")
    assert (found["account"], found["campaign"], found["ts"], found["visitor"]) == (1, 7, NOON_MS, "v" * 16)
    assert (found["country"], found["asn"], found["device"], found["os"]) == ("AT", 8447, "mobile", "Android")
    details = found["details"]
    assert details["subs"] == {"sub1": "a"}
    assert details["platform_ids"] == {"gclid": "G"}
    assert details["params"] == {"color": "red"}
    assert details["external_id"] == "E"
    assert details["link"] == ["campaign_active", "destination"]
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
    found = event(b"cost=x", keys=(FOUR, True), flags=int(Flag.RELAY))
    assert found["flags"] == Flag.RELAY | Flag.COST_IGNORED | Flag.SALT_DERIVED


def test_an_event_that_no_record_can_hold_gives_way_where_a_stranger_made_it_long() -> None:
    long = payload(b"&".join(b"p%d=%s" % (number, b"x" * 1024) for number in range(90)) + b"&sub1=kept")
    assert len(long) <= MAX_PAYLOAD
    found = orjson.loads(long)
    assert found["details"]["subs"] == {"sub1": "kept"}
    assert found["flags"] & Flag.TRUNCATED_PARAMETERS
    assert found["details"]["params"] == {}


def test_the_largest_event_a_stranger_can_make_fits_a_record() -> None:
    quotes = b"%22" * 1024
    names = [b"sub%d" % number for number in range(1, 21)]
    names += [b"gclid", b"wbraid", b"gbraid", b"fbclid", b"ttclid", b"msclkid", b"external_id"]
    query = b"&".join(name + b"=" + quotes for name in names)
    assert len(payload(query, location="https://shop.example/?" + "x" * 100_000)) <= MAX_PAYLOAD


def test_an_event_of_usual_size_is_left_alone() -> None:
    usual = event(b"color=red")
    assert usual["details"]["params"] == {"color": "red"}
    assert usual["flags"] == 0
