"""The events that the edge journals and ingest stores: their names, kinds and wire form.

One event is a JSON object (UTF-8, no insignificant space) inside a journal record whose `kind` says which. Fields
are added, never renamed or reused; a reader keeps what it does not know. `v` counts incompatible changes.

A click (kind 1), written by the edge, one for every GET or HEAD of a known link:

    v           1
    id          click id `clk_…`; the event's own time is the time inside it
    ts          reported time, ms since 1970
    account, campaign                       integers
    mode        shared.traffic.ClickMode
    outcome     shared.traffic.Outcome
    class, fraud, flags, score              shared.traffic, the inline verdict
    rules       version of the rule set that gave it
    cost        nano-units (shared.money)
    cost_from   0 campaign, 1 `cost=` of the link
    visitor, visitor_prev, address, address_prev   keyed digests, 16 base64 characters (shared.ids.digest_key)
    ip          as stored: "" where MILEPOST_IP_STORAGE=none
    country     ISO 3166 alpha-2 or ZZ
    asn         number or 0
    device, os, browser                     normalised names
    details     object, kept as it is: os_version browser_version language user_agent referrer region city isp
                bot (name) bot_kind subs {} external_id params {} platform_ids {} reasons [[code, points], …]
                location (the answer's target), link (how the decision was made), scheme

A postback (kind 2), one for every call whose click id proves its campaign:

    v           1
    id          32 hex digits, this call
    ts          arrival at the edge, ms
    account, campaign, click_id, conversion_id
    event, transaction_id                   "" where not given
    status      approved pending rejected refunded chargeback
    payout      decimal text as written, or null: the campaign's default counts
    default_payout                          decimal text or null: the campaign's at arrival
    currency    ISO 4217
    time        ms of `time=`, or null
    reason      number of shared.postback.REASONS, decided at arrival; 0 = accepted
    http_status what the caller was told
    security    open, token or hmac; trusted: whether the call proved itself
    duplicate_mode, cost_model, cost_value  the campaign's at arrival
    source_ip, method, query                query with secrets masked
    origin      postback, api

A stranger's request (kind 3): it names no campaign, so it has no account. A link that does not exist or no longer
does, or a postback whose click id proves nothing. Kept within a budget; what is beyond it was only counted.

    v           1
    id          32 hex digits, this request
    ts          arrival at the edge, ms
    reason      number of STRANGER_REASONS
    method, path
    query       with secrets masked; a postback's with the parameters of its body
    ip          as stored: "" where MILEPOST_IP_STORAGE=none
    user_agent, referrer                    printable; the referring page without its query
"""

from typing import Any, Final

import orjson

from shared import postback

CLICK = 1
POSTBACK = 2
STRANGER = 3
VERSION = 1

UNKNOWN_LINK = 70
STRANGER_REASONS: Final[dict[int, str]] = {
    UNKNOWN_LINK: "UNKNOWN_LINK",
    **{
        number: postback.REASONS[number][0]
        for number in (postback.MISSING_CLICK_ID, postback.INVALID_CLICK_ID, postback.UNEXPANDED_MACRO)
    },
}
"""Number → name. A postback's are those of shared.postback, where 70 is no reason."""

Event = dict[str, Any]

encode = orjson.dumps
"""An event as the bytes of a record's payload."""


class UndecodableEvent(ValueError):
    """The payload is no event of a version that this program knows."""


def decode(payload: bytes) -> Event:
    """The event in a record's payload; raises UndecodableEvent with the reason."""
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise UndecodableEvent(f"not JSON: {error}") from error
    if not isinstance(event, dict):
        raise UndecodableEvent("not a JSON object")
    if event.get("v") != VERSION:
        raise UndecodableEvent(f"version {event.get('v')!r} is not known")
    return event
