"""One answered link as the event that is journaled (shared.events, kind 1). Pure."""

from edge.classify import Judgement
from edge.click_request import ClickRequest
from edge.client_ip import IpStorage, stored_ip
from edge.decide import Decision
from edge.parse import LinkParameters, cut
from edge.table import Campaign
from edge.visitor import VisitorKeys
from shared.events import VERSION, Event, encode
from shared.journal.record import MAX_PAYLOAD
from shared.traffic import RULES_VERSION, Flag

_TRUNCATED = int(Flag.TRUNCATED_PARAMETERS)
_SALT_DERIVED = int(Flag.SALT_DERIVED)
_FROM_CAMPAIGN, _FROM_LINK = 0, 1


def click_event(
    click_id: str,
    now_ms: int,
    mode: int,
    campaign: Campaign,
    request: ClickRequest,
    parameters: LinkParameters,
    judgement: Judgement,
    decision: Decision,
    keys: VisitorKeys,
    location: str,
    ip_storage: IpStorage,
) -> Event:
    """The event; nothing in it names the full address unless `ip_storage` is `full`."""
    verdict, agent, network = judgement
    cost = parameters.cost
    return {
        "v": VERSION,
        "id": click_id,
        "ts": now_ms,
        "account": campaign.account_id,
        "campaign": campaign.id,
        "mode": mode,
        "outcome": decision.outcome,
        "class": verdict.traffic_class,
        "fraud": verdict.fraud_type,
        "flags": verdict.flags | parameters.flags | (_SALT_DERIVED if keys.derived else 0),
        "score": verdict.score,
        "rules": RULES_VERSION,
        "cost": campaign.row.click_cost if cost is None else cost,
        "cost_from": _FROM_CAMPAIGN if cost is None else _FROM_LINK,
        "visitor": keys.visitor,
        "visitor_prev": keys.visitor_prev,
        "address": keys.address,
        "address_prev": keys.address_prev,
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
            "reasons": verdict.reasons,
            "location": location,
            "link": decision.how,
            "scheme": request.scheme,
        },
    }


def bounded(event: Event) -> bytes:
    """The event encoded, small enough for a record: what a stranger may lengthen at will gives way, and is flagged."""
    payload = encode(event)
    if len(payload) <= MAX_PAYLOAD:
        return payload
    details = event["details"]
    details["params"] = {}
    details["location"] = cut(details["location"])
    event["flags"] |= _TRUNCATED
    return encode(event)
