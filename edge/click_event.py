"""One answered link as the event that is journaled (shared.events, kind 1). Pure.

The bytes are put together from parts that are JSON already (what describes an agent, a network or a verdict is the same for
many clicks) and from one call of orjson for everything else, so that nothing a stranger wrote is ever pasted.
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
_CLOCK_SUSPECT = int(Flag.CLOCK_SUSPECT)
_FROM_CAMPAIGN, _FROM_LINK = 0, 1
_NO_OTHERS: Final[dict[str, str]] = {}

_BEGINNING: Final = b'{"v":%d,"rules":%d,"visitor":"' % (VERSION, RULES_VERSION)


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
    *,
    clock_suspect: bool = False,
) -> bytes:
    """The event encoded, `now_ms` the time to report. Nothing in it names the full address unless `ip_storage` is
    `full`. One that no record can hold is flagged and gives way in what a stranger may lengthen at will."""
    verdict, agent, network = judgement
    (visitor, visitor_prev, address, address_prev), derived = keys
    flags = verdict.flags | parameters.flags
    if derived:
        flags |= _SALT_DERIVED
    if clock_suspect:
        flags |= _CLOCK_SUSPECT
    cost, cost_from = parameters.cost, _FROM_LINK
    if cost is None:
        cost, cost_from = campaign.row.click_cost, _FROM_CAMPAIGN
    written = orjson.dumps(
        {
            "id": click_id,
            "ts": now_ms,
            "account": campaign.account_id,
            "campaign": campaign.id,
            "mode": mode,
            "outcome": decision.outcome,
            "flags": flags,
            "cost": cost,
            "cost_from": cost_from,
            "ip": stored_ip(request.address, ip_storage),
            "details": {
                "language": request.language,
                "user_agent": request.user_agent,
                "referrer": request.referrer,
                "subs": parameters.subs,
                "external_id": parameters.external_id,
                "params": parameters.others,
                "platform_ids": parameters.platform_ids,
                "location": location,
                "link": decision.how,
                "scheme": request.scheme,
            },
        }
    )
    # The keys are base64, so they stand between quotes as they are; `details` comes last in what orjson wrote, so
    # what belongs into it is put before its closing brace.
    payload = b"".join(
        (
            _BEGINNING,
            visitor,
            b'","visitor_prev":"',
            visitor_prev,
            b'","address":"',
            address,
            b'","address_prev":"',
            address_prev,
            b'",',
            verdict.in_event,
            b",",
            agent.in_event,
            b",",
            network.in_event,
            b",",
            written[1:-2],
            b",",
            verdict.in_details,
            b",",
            agent.in_details,
            b",",
            network.in_details,
            b"}}",
        )
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
        clock_suspect=clock_suspect,
    )
