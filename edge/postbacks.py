"""What a postback call may do: who sent it, whether it comes in time, what it may claim. Pure.

`read_pairs` turns query and body into fields, `judge` gives the one reason that decides (shared.postback.REASONS).
"""

import hashlib
import hmac
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from edge.client_ip import ClientAddress
from edge.parse import pairs
from edge.table import Account, Campaign, IpNetwork
from shared import postback
from shared.postback import PostbackCall

POSTBACK_PATH: Final = "/api/v1/postback"
MAX_BODY: Final = 16 * 1024
SIGNATURE_SECONDS: Final = 300
NONCE_SECONDS: Final = 600
_MAX_NONCES: Final = 200_000
_MAX_NONCE_TEXT: Final = 128
_MAX_DEPTH: Final = 32
_MAX_KEPT_QUERY: Final = 4096
_HOUR_MS: Final = 3_600_000

SECRET_PARAMETERS: Final = frozenset(("apikey", "token", "sig", "password", "apisecret"))
"""Compared without case, `_` and `-`; replaced before anything is written (security X7)."""
MASK: Final = "***"

Pair = tuple[str, str]


class UnreadableBody(ValueError):
    """The body is no form or JSON object of plain values; the text says what is wrong."""


class Sender(NamedTuple):
    """Where a call came from and what it proved so far."""

    address: ClientAddress
    fields: Mapping[str, str]
    pairs: Sequence[Pair]
    """Every parameter as sent, query first."""


def form_pairs(raw: bytes) -> list[Pair]:
    """The parameters of a query or a form body."""
    return list(pairs(raw, keep_controls=True))


def json_pairs(body: bytes) -> list[Pair]:
    """The members of a JSON object as text, numbers as they are written. Raises UnreadableBody.

    Members with nested values are passed over unless they repeat a name; a repeated name is refused (security X13).
    """
    if _depth(body) > _MAX_DEPTH:
        raise UnreadableBody(f"JSON nested deeper than {_MAX_DEPTH}")
    try:
        members = json.loads(
            body, object_pairs_hook=_unique, parse_float=str, parse_int=str, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise UnreadableBody("not JSON" if isinstance(error, json.JSONDecodeError) else str(error)) from error
    if not isinstance(members, dict):
        raise UnreadableBody("not a JSON object")
    found: list[Pair] = []
    for name, value in members.items():
        text = (
            {None: "", True: "true", False: "false"}.get(value) if not isinstance(value, str | dict | list) else value
        )
        if not isinstance(text, str):
            continue
        if "\x00" in text or not _encodable(name + text):
            raise UnreadableBody(f"a character in {name[:40]!r} is no text")
        found.append((name, text))
    return found


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise UnreadableBody("JSON with a repeated name")
    return found


def _refuse_constant(name: str) -> str:
    raise UnreadableBody(f"{name} is no value")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(body: bytes) -> int:
    # Counts brackets in strings too: a flat call of 16 KB has no use for that many of them.
    deepest = depth = 0
    for byte in body:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def contradiction(query: Mapping[str, str], body: Mapping[str, str]) -> str | None:
    """A field for which query and body give different values (security X13)."""
    return next((name for name, value in body.items() if query.get(name, value) != value), None)


def masked_query(given: Iterable[Pair]) -> str:
    """All parameters as a query with secrets masked, at most 4 KB of it: what the inbox keeps."""
    shown = (f"{quote(name, safe='')}={MASK if _is_secret(name) else quote(value, safe='')}" for name, value in given)
    return "&".join(shown)[:_MAX_KEPT_QUERY]


def _is_secret(name: str) -> bool:
    return name.lower().replace("_", "").replace("-", "") in SECRET_PARAMETERS


def expired(campaign: Campaign, click_time_ms: int, now_ms: int) -> bool:
    """Whether the click is older than the campaign's attribution window."""
    return now_ms - click_time_ms > campaign.row.attribution_window_hours * _HOUR_MS


def judge(
    campaign: Campaign, account: Account | None, call: PostbackCall, sender: Sender, nonces: "Nonces", now_ms: int
) -> int:
    """The reason that decides a well-formed call inside its window: a refusal (30, 31, 32), held (33, 34), or how it
    is accepted (0, 40, 41). An open call may only create, and only amounts up to the limit (security X2)."""
    row = campaign.row
    if campaign.row.allowed_ips and not _allowed(campaign.allowed, sender.address):
        return postback.ADDRESS_NOT_ALLOWED
    if row.postback_security == "token":
        if not _token_fits(row.postback_tokens, sender.fields.get("token", "")):
            return postback.BAD_TOKEN
    elif row.postback_security == "hmac":
        if not _signed(row.postback_tokens, sender, now_ms):
            return postback.BAD_SIGNATURE
        if not nonces.first_use(campaign.id, sender.fields.get("nonce", ""), now_ms):
            return postback.BAD_SIGNATURE
    elif row.postback_security != "open":
        return postback.BAD_TOKEN  # a way of proof that a later version knows: nothing less will do
    elif call.status in postback.TAKING:
        return postback.HELD_TAKING
    elif call.payout is not None and call.payout > row.payout_limit():
        return postback.HELD_PAYOUT
    if account is not None and account.suspended:
        return postback.SUSPENDED_ACCOUNT
    return postback.DELETED_CAMPAIGN if campaign.status == "deleted" else postback.ACCEPTED


REFUSING: Final = frozenset((postback.BAD_TOKEN, postback.ADDRESS_NOT_ALLOWED, postback.BAD_SIGNATURE))
"""Reasons of `judge` whose call gets no 200."""


def _allowed(networks: tuple[IpNetwork, ...], address: ClientAddress) -> bool:
    return any(
        network.version == address.version
        and int(network.network_address) <= address.packed <= int(network.broadcast_address)
        for network in networks
    )


def _token_fits(tokens: Iterable[str], given: str) -> bool:
    # Every token is compared, so that the time says nothing about which one came close.
    fits = False
    for token in tokens:
        fits |= bool(token) and hmac.compare_digest(token.encode(), given.encode("utf-8", "replace"))
    return fits


def signature(token: str, given: Iterable[Pair]) -> str:
    """`sig` of a call: hex HMAC-SHA256 over `name=value` joined by `&`, both percent-encoded (RFC 3986, upper-case
    escapes), sorted, without `sig` itself. Query and body count alike."""
    encoded = sorted(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in given if name.lower() != "sig"
    )
    return hmac.new(token.encode(), "&".join(encoded).encode(), hashlib.sha256).hexdigest()


def _signed(tokens: Iterable[str], sender: Sender, now_ms: int) -> bool:
    ts, nonce = sender.fields.get("ts", ""), sender.fields.get("nonce", "")
    if not (ts.isascii() and ts.isdigit() and len(ts) <= 12) or not 1 <= len(nonce) <= _MAX_NONCE_TEXT:
        return False
    if abs(now_ms - int(ts) * 1000) > SIGNATURE_SECONDS * 1000:
        return False
    if len({name for name, _ in sender.pairs}) < len(sender.pairs):
        return False  # the first of a name counts, and the signature does not say which that is
    given = sender.fields.get("sig", "").lower().encode("utf-8", "replace")
    fits = False
    for token in tokens:
        fits |= bool(token) and hmac.compare_digest(signature(token, sender.pairs).encode(), given)
    return fits


class Nonces:
    """Nonces of signed calls of the last ten minutes; the oldest are forgotten when there are too many."""

    def __init__(self, capacity: int = _MAX_NONCES) -> None:
        self._capacity = capacity
        self._used: OrderedDict[tuple[int, str], int] = OrderedDict()

    def first_use(self, campaign_id: int, nonce: str, now_ms: int) -> bool:
        """Whether the campaign's nonce is new; it is remembered."""
        used = self._used
        while used:
            oldest = next(iter(used))
            if used[oldest] > now_ms - NONCE_SECONDS * 1000 and len(used) < self._capacity:
                break
            del used[oldest]
        key = (campaign_id, nonce)
        if key in used:
            return False
        used[key] = now_ms
        return True
