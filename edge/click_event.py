"""One answered link as the event that is journaled (shared.events, kind 1). Pure.

The bytes are put together from parts that are JSON already (what describes an agent or a verdict is the same for many
clicks) and from one call of orjson for everything that a stranger may have written.
"""

from dataclasses import replace
from typing import Final

import orjson

from edge.classify import Judgement
from edge.click_request import ClickRequest
from edge.client_ip import IpStorage, stored_ip
from edge.decide import Decision
from edge.parse import LinkParameters, cut
from edge.table import Campaign
from edge.visitor import VisitorKeys
from shared.events import VERSION
from shared.journal.record import MAX_PAYLOAD
from shared.traffic import RULES_VERSION, Flag

_TRUNCATED = int(Flag.TRUNCATED_PARAMETERS)
_SALT_DERIVED = int(Flag.SALT_DERIVED)
_FROM_CAMPAIGN, _FROM_LINK = 0, 1
_NO_OTHERS: Final[dict[str, str]] = {}

_EVENT: Final = (
    b'{"v":%d,"rules":%d,'
    % (VERSION, RULES_VERSION)
    + b'"id":"%b","ts":%d,"account":%d,"campaign":%b,"mode":%d,"outcome":%d,"flags":%d,"cost":%d,"cost_from":%d,'
    b'"visitor":"%b","visitor_prev":"%b","address":"%b","address_prev":"%b","ip":"%b","country":"%b","asn":%d,'
    b'%b,%b,"details":{%b,%b,%b}'
)
"""What stands between quotes here is base64, digits, dots, colons or a country code; the bare `%b` are the parts of
the verdict and of the agent, theirs in `details`, and the rest of `details` as orjson wrote it, without its brace."""


def click_payload(
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
) -> bytes:
    """The event encoded; nothing in it names the full address unless `ip_storage` is `full`. One that no record can
    hold is flagged and gives way in what a stranger may lengthen at will."""
    verdict, agent, network = judgement
    flags = verdict.flags | parameters.flags
    if keys.derived:
        flags |= _SALT_DERIVED
    cost, cost_from = parameters.cost, _FROM_LINK
    if cost is None:
        cost, cost_from = campaign.row.click_cost, _FROM_CAMPAIGN
    written = orjson.dumps(
        {
            "language": request.language,
            "user_agent": request.user_agent,
            "referrer": request.referrer,
            "region": network.region,
            "city": network.city,
            "isp": network.isp,
            "subs": parameters.subs,
            "external_id": parameters.external_id,
            "params": parameters.others,
            "platform_ids": parameters.platform_ids,
            "location": location,
            "link": decision.how,
            "scheme": request.scheme,
        }
    )
    visitor, visitor_prev, address, address_prev = keys.four
    payload: bytes = _EVENT % (
        click_id.encode(),
        now_ms,
        campaign.account_id,
        campaign.key_part,
        mode,
        decision.outcome,
        flags,
        cost,
        cost_from,
        visitor,
        visitor_prev,
        address,
        address_prev,
        stored_ip(request.address, ip_storage).encode(),
        network.country.encode(),
        network.asn,
        verdict.in_event,
        agent.in_event,
        verdict.in_details,
        agent.in_details,
        written[1:],
    )
    if len(payload) <= MAX_PAYLOAD or parameters.others is _NO_OTHERS:
        return payload
    shorter = replace(parameters, others=_NO_OTHERS, flags=parameters.flags | _TRUNCATED)
    return click_payload(
        click_id,
        now_ms,
        mode,
        campaign,
        request,
        shorter,
        judgement,
        decision,
        keys,
        cut(location),
        ip_storage,
    )


# --- until edge/click.py calls click_payload ---
click_event = click_payload


def bounded(payload: bytes) -> bytes:
    return payload
