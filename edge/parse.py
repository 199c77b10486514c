"""From the bytes of a request to frozen values: the tracking link's parameters, header texts, the client's language.

Pure, and never an exception: whatever the visitor sends becomes text. Bytes that are no UTF-8, escapes that are none
and control characters stay as their escapes (api.md section 6), so that nothing unprintable is stored or sent on.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from shared import money
from shared.campaigns import CampaignRow
from shared.traffic import Flag

MAX_PARAMETERS: Final = 100
MAX_TEXT: Final = 1024
"""Bytes of UTF-8 that are kept of a parameter's name or value, of a user agent, of a referrer."""
PLATFORM_IDS: Final = frozenset(("gclid", "wbraid", "gbraid", "fbclid", "ttclid", "msclkid"))
SUBS: Final = frozenset(f"sub{number}" for number in range(1, 21))

_SUB, _PLATFORM_ID, _EXTERNAL_ID = range(3)
_MEANINGS: Final = {
    **dict.fromkeys(SUBS, _SUB),
    **dict.fromkeys(PLATFORM_IDS, _PLATFORM_ID),
    "external_id": _EXTERNAL_ID,
}
"""Of the names that mean the same on every link; one look-up instead of a question for each meaning."""
_TRUNCATED = int(Flag.TRUNCATED_PARAMETERS)
_COST_IGNORED = int(Flag.COST_IGNORED)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_QUERY = re.compile(rb"[!-$&-*,-~]{1,1024}").fullmatch
"""Printable ASCII without `%` and `+`, no longer than one value may be."""
_LANGUAGE = re.compile(r"[ \t]*([A-Za-z]{2,3})(?=$|[-;, \t])")


def _escape_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("milepost-escape", _escape_undecodable)


@dataclass(slots=True)
class TrafficSource:
    """How a campaign's traffic source names its parameters. `subs` maps their name to ours (`zone` → `sub1`).

    Campaigns that mean the same share one, so it is never changed.
    """

    subs: Mapping[str, str]
    cost_param: str | None
    click_id_param: str | None
    max_cost: int
    """Nano-units; a `cost=` above it does not count."""

    @classmethod
    def of(cls, campaign: CampaignRow) -> "TrafficSource":
        pairs = tuple(campaign.sub_params.items())
        return _source(pairs, campaign.cost_param or None, campaign.click_id_param or None, campaign.max_click_cost)


@lru_cache(maxsize=1024)
def _source(
    sub_params: tuple[tuple[str, str], ...], cost_param: str | None, click_id_param: str | None, max_cost: str
) -> TrafficSource:
    ours = {theirs: sub for sub, theirs in sub_params if sub in SUBS and theirs}
    return TrafficSource(ours, cost_param, click_id_param, money.parse_link_cost(max_cost) or 0)


@dataclass(slots=True)
class LinkParameters:
    """What the tracking link's query says. `given` has every kept parameter, the other mappings share its values."""

    given: dict[str, str]
    subs: dict[str, str]
    external_id: str
    platform_ids: dict[str, str]
    others: dict[str, str]
    """Everything that is none of the above, `utm_…` included."""
    cost: int | None
    """Nano-units, or None: the campaign's own cost counts."""
    flags: int
    """Bits of shared.traffic.Flag: TRUNCATED_PARAMETERS, COST_IGNORED."""


def no_parameters() -> LinkParameters:
    """What a link without a query says."""
    return LinkParameters({}, {}, "", {}, {}, None, 0)


def link_parameters(query: bytes, source: TrafficSource) -> LinkParameters:
    """The parameters of a tracking link, read as its traffic source means them.

    The first of a repeated name wins (security X14); the first 100 count. `sub1=` beats the source's own name for
    it, and `cost=` counts only where the source names its parameter (security X11).
    """
    if not query:
        return no_parameters()
    plain = _PLAIN_QUERY(query) and query.count(b"&") < MAX_PARAMETERS
    given, flags = _plain_parameters(query) if plain else _kept_parameters(query)
    subs: dict[str, str] = {}
    platform_ids: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, value in given.items():
        meaning = _MEANINGS.get(name)
        if meaning is None:
            others[name] = value
        elif meaning == _SUB:
            subs[name] = value
        elif meaning == _PLATFORM_ID:
            platform_ids[name] = value
    for theirs, ours in source.subs.items():
        value = given.get(theirs, "")
        if value and not subs.get(ours):
            subs[ours] = value
    external_id = given.get("external_id", "")
    if not external_id and source.click_id_param is not None:
        external_id = given.get(source.click_id_param, "")
    cost: int | None = None
    if source.cost_param is not None and source.cost_param in given:
        cost = money.parse_link_cost(given[source.cost_param])
        if cost is None or cost > source.max_cost:
            cost = None
            flags |= _COST_IGNORED
    elif "cost" in given:
        flags |= _COST_IGNORED
    return LinkParameters(given, subs, external_id, platform_ids, others, cost, flags)


def _plain_parameters(query: bytes) -> tuple[dict[str, str], int]:
    """What `_kept_parameters` gives, for the usual query: short, nothing escaped, at most 100 parameters."""
    given: dict[str, str] = {}
    for piece in query.decode("ascii").split("&"):
        name, separator, value = piece.partition("=")
        if name not in given and (name or separator):
            given[name] = value
    return given, 0


def _kept_parameters(query: bytes) -> tuple[dict[str, str], int]:
    given: dict[str, str] = {}
    flags = 0
    for count, (name, value) in enumerate(pairs(query)):
        if count >= MAX_PARAMETERS:
            return given, _TRUNCATED
        kept_name, kept_value = cut(name), cut(value)
        if kept_name is not name or kept_value is not value:
            flags = _TRUNCATED
        given.setdefault(kept_name, kept_value)
    return given, flags


def pairs(query: bytes, *, keep_controls: bool = False) -> Iterator[tuple[str, str]]:
    """Names and values of a query or form body, decoded, in order. `;` is data; empty pieces are passed over.

    `keep_controls` leaves decoded control characters as they are, for a caller that refuses them itself.
    """
    for piece in query.split(b"&"):
        if not piece:
            continue
        name, _, value = piece.partition(b"=")
        yield _decoded(name, keep_controls), _decoded(value, keep_controls)


def _decoded(raw: bytes, keep_controls: bool) -> str:
    if raw.isalnum():
        return raw.decode("ascii")
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return text_of(raw) if not keep_controls else raw.decode("utf-8", "milepost-escape")


def text_of(raw: bytes) -> str:
    """Any bytes as printable text: UTF-8 where it is valid, escapes (`%FF`, `%00`) for the rest."""
    text = raw.decode("utf-8", "milepost-escape")
    if text.isprintable():
        return text
    return _CONTROL.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def cut(text: str) -> str:
    """`text`, the same object when it has at most MAX_TEXT bytes of UTF-8, else its beginning of that size."""
    if len(text) <= MAX_TEXT and text.isascii():
        return text
    raw = text.encode()
    return text if len(raw) <= MAX_TEXT else raw[:MAX_TEXT].decode("utf-8", "ignore")


def header_text(raw: bytes) -> str:
    """A header's value as it is kept: printable, at most 1 KB."""
    return cut(text_of(raw))


def referrer(raw: bytes) -> tuple[str, str]:
    """The referring page without query and fragment (security X14), and its host name; both "" when there is none.

    Without its query, because pages keep their visitors' names and searches there.
    """
    text = text_of(raw)
    for mark in "?#":
        text = text.partition(mark)[0]
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return cut(text), ""
    authority = rest.partition("/")[0].rpartition("@")[2]
    host = authority if authority.endswith("]") else re.sub(r":\d*$", "", authority)
    return cut(f"{scheme}://{authority}{rest[len(rest.partition('/')[0]) :]}"), cut(host.lower())


def language(accept_language: str) -> str:
    """The primary language of Accept-Language in lower case (`de-AT,en;q=0.8` → `de`), or ""."""
    match = _LANGUAGE.match(accept_language)
    return match[1].lower() if match else ""
