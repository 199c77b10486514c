"""One record's payload → one row as Postgres' binary COPY takes it. Pure.

The row is packed here once and not looked into again: tuples of Python values would cost a datetime for each
timestamp and a second pass over 28 columns. What is refused, is refused on the fast path without a word;
`wire.wrong_field` finds the words.
"""

from binascii import a2b_base64
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from struct import error as StructError
from typing import Any, Final, NamedTuple

import orjson

from management.ingest import wire
from shared.events import CLICK, POSTBACK, STRANGER, Event, UndecodableEvent
from shared.events import decode as decode_event
from shared.ids import CLICK_ID_BYTES, click_id_parts
from shared.traffic import ClickMode

DAY_MS: Final = 86_400_000
_POSTGRES_EPOCH_MS: Final = 946_684_800_000  # 2000-01-01, where timestamptz counts microseconds from
_NULL: Final = b"\xff\xff\xff\xff"
_NUL_ESCAPE: Final = b"\\u0000"  # the only way to write a NUL in JSON
_BACKSLASH: Final = 0x5C  # looked for first: one byte is found ten times faster


class DecodeError(ValueError):
    """The record cannot be stored; the text says why in one sentence."""


class ClickRow(NamedTuple):
    """`day`: days since 1970 (UTC) of the id's own time, the partition. `row`: columns as in `CLICK_COLUMNS`. `delta`:
    as in `DELTA_COLUMNS`; empty for a HEAD or prefetch, which is stored but in no figure."""

    click_id: bytes
    day: int
    row: bytes
    delta: bytes


class PostbackRow(NamedTuple):
    """`row`: columns as in `POSTBACK_COLUMNS`."""

    id: bytes
    row: bytes


class StrangerRow(NamedTuple):
    """`row`: columns as in `STRANGER_COLUMNS`."""

    id: bytes
    row: bytes


Row = ClickRow | PostbackRow | StrangerRow

CLICK_COLUMNS: Final = (
    "account_id", "campaign_id", "mode", "outcome", "class", "fraud", "flags", "score", "rules", "cost_from", "cost",
    "click_id", "ts", "visitor_key", "visitor_key_prev", "asn", "reported_at", "address_key", "address_key_prev",
    "stream", "seq", "country", "device", "os", "browser", "ip", "details",
)  # fmt: skip
DELTA_COLUMNS: Final = (
    "account_id", "campaign_id", "outcome", "class", "fraud", "flags", "cost_from", "cost", "click_id", "ts",
    "visitor_key", "visitor_key_prev",
)  # fmt: skip
POSTBACK_COLUMNS: Final = (
    "account_id", "campaign_id", "id", "ts", "click_id", "conversion_id", "reason", "http_status", "trusted",
    "stream", "seq", "event", "transaction_id", "status", "payout", "default_payout", "currency", "event_time",
    "security", "duplicate_mode", "cost_model", "cost_value", "source_ip", "method", "query", "origin",
)  # fmt: skip
STRANGER_COLUMNS: Final = (
    "id", "ts", "reason", "stream", "seq", "method", "path", "query", "ip", "user_agent", "referrer",
)  # fmt: skip

_LENGTH = Struct(">i")
_TIME = Struct(">iq")
# Every fixed column is its length and its value; the number of columns stands in front of the row.
_VERDICT = Struct(">h" + "ii" * 2 + "ih" * 4 + "ii" + "ih" * 3)
_DELTA = Struct(">h" + "ii" * 2 + "ih" * 3 + "ii" + "ih")
_CLICK = Struct(">" + "iq" + "i27s" + "iq" + "i12s" * 2 + "iq" * 2 + "i12s" * 2 + "i16s" + "iq")
_DELTA_ENDS: Final = Struct(">" + "iq" + "i27s" + "iq" + "i12s" * 2).size
"""What a delta takes over of the fixed columns: cost … visitor_key_prev."""
_POSTBACK = Struct(">h" + "ii" * 2 + "i16s" + "iq" + "i27s" + "i16s" + "ih" * 2 + "i?" + "i16s" + "iq")
_STRANGER = Struct(">h" + "i16s" + "iq" + "ih" + "i16s" + "iq")
_pack_click, _pack_length = _CLICK.pack, _LENGTH.pack
_new_row = tuple.__new__  # a named tuple's own constructor is a call more, for each click

_verdict_fields = itemgetter(
    "account", "campaign", "mode", "outcome", "class", "fraud", "flags", "score", "rules", "cost_from"
)
_words_fields = itemgetter("country", "device", "os", "browser")
_digest_fields = itemgetter("visitor", "visitor_prev", "address", "address_prev")
# Click ids use the URL-safe alphabet; the two characters that only the other one knows must not pass for these.
_FROM_URL_SAFE = bytes.maketrans(b"-_+/", b"+/!!")
_CLICK_ID_TEXT: Final = 40

_REFUSALS = (KeyError, TypeError, AttributeError, ValueError, StructError, orjson.JSONEncodeError)


def decode(stream: bytes, seq: int, kind: int, payload: bytes) -> Row:
    """The row of the record at (stream, seq); raises DecodeError and nothing else."""
    try:
        event = decode_event(payload)
    except UndecodableEvent as error:
        raise DecodeError(str(error)) from None
    if kind not in _KINDS:
        raise DecodeError(f"kind {kind} is not known")
    name, fields, build = _KINDS[kind]
    try:
        if _BACKSLASH in payload and _NUL_ESCAPE in payload and wire.holds_nul(event):
            raise ValueError("a text holds a NUL, which Postgres cannot store")
        return build(stream, seq, event)
    except _REFUSALS as error:
        raise DecodeError(wire.wrong_field(name, fields, event) or f"the {name} cannot be stored: {error}") from None


def _click(stream: bytes, seq: int, event: Event) -> ClickRow:
    verdict, effect = _verdict(*_verdict_fields(event))
    raw = _click_id(event["id"])
    time_ms, campaign = click_id_parts(raw)
    ts, cost, asn = event["ts"], event["cost"], event["asn"]
    if not type(ts) is type(cost) is type(asn) is int:  # JSON's true would pass for 1
        raise TypeError
    if time_ms > wire.LAST_MS or not 0 <= ts <= wire.LAST_MS:
        raise ValueError("its id's time is beyond the year 9998")
    if event["campaign"] != campaign:
        raise ValueError("its id was made for another campaign")
    visitor, visitor_prev, address, address_prev = texts = _digest_fields(event)
    digests = a2b_base64("".join(texts), strict_mode=True)
    if len(digests) != 48 or not len(visitor) == len(visitor_prev) == len(address) == len(address_prev) == 16:
        raise ValueError
    details = event["details"]
    if type(details) is not dict:
        raise TypeError
    if len(event) > _CLICK_MEMBERS:  # of a later minor version: kept, though not understood
        details = details | {"unread": {name: event[name] for name in event.keys() - _CLICK_NAMES}}
    written = orjson.dumps(details)
    ip = event["ip"].encode()
    fixed = _pack_click(
        8, cost, 27, raw, 8, (time_ms - _POSTGRES_EPOCH_MS) * 1000, 12, digests[:12], 12, digests[12:24],
        8, asn, 8, (ts - _POSTGRES_EPOCH_MS) * 1000, 12, digests[24:36], 12, digests[36:], 16, stream, 8, seq,
    )  # fmt: skip
    sizes = _pack_length(len(ip)), _pack_length(len(written))
    row = b"".join((verdict, fixed, _words(*_words_fields(event)), sizes[0], ip, sizes[1], written))
    return _new_row(ClickRow, (raw, time_ms // DAY_MS, row, effect and effect + fixed[:_DELTA_ENDS]))


@lru_cache(8192, typed=True)
def _verdict(account: int, campaign: int, *rest: int) -> tuple[bytes, bytes]:
    """The columns that say who and what, of the row and of its delta; few combinations come again and again."""
    mode, outcome, traffic_class, fraud, flags, score, rules, cost_from = rest
    if bool in map(type, (account, campaign, *rest)):
        raise TypeError
    if (
        mode not in wire.MODES
        or outcome not in wire.OUTCOMES
        or traffic_class not in wire.CLASSES
        or fraud not in wire.FRAUDS
    ):
        raise ValueError
    row = _VERDICT.pack(
        27, 4, account, 4, campaign, 2, mode, 2, outcome, 2, traffic_class, 2, fraud, 4, flags,
        2, score, 2, rules, 2, cost_from,
    )  # fmt: skip
    if mode != ClickMode.CLICK:
        return row, b""
    return row, _DELTA.pack(12, 4, account, 4, campaign, 2, outcome, 2, traffic_class, 2, fraud, 4, flags, 2, cost_from)


@lru_cache(8192, typed=True)
def _words(*words: Any) -> bytes:
    """The text columns of few values."""
    return b"".join(map(_given_text, words))


_CLICK_NAMES = frozenset(("v", *wire.CLICK_FIELDS))
_CLICK_MEMBERS = len(_CLICK_NAMES)


def _postback(stream: bytes, seq: int, event: Event) -> PostbackRow:
    problem = wire.wrong_field("postback", wire.POSTBACK_FIELDS, event)
    if problem is not None:
        raise ValueError(problem)
    click_id = _click_id(event["click_id"])
    clicked_at_ms, campaign = click_id_parts(click_id)
    if event["campaign"] != campaign:
        raise ValueError("its click id was made for another campaign")
    if clicked_at_ms > wire.LAST_MS:
        raise ValueError("its click id's time is beyond the year 9998")
    if event["reason"] in wire.EFFECTIVE and event["status"] not in wire.STATUSES:
        raise ValueError("it counts, but its status is none that is known")
    postback_id = bytes.fromhex(event["id"])
    fixed = _POSTBACK.pack(
        26, 4, event["account"], 4, event["campaign"], 16, postback_id,
        8, (event["ts"] - _POSTGRES_EPOCH_MS) * 1000, 27, click_id,
        16, bytes.fromhex(event["conversion_id"].removeprefix("conv_")),
        2, event["reason"], 2, event["http_status"], 1, event["trusted"], 16, stream, 8, seq,
    )  # fmt: skip
    moment = event["time"]
    row = b"".join((
        fixed, _text(event["event"]), _text(event["transaction_id"]), _text(event["status"]),
        _text(event["payout"]), _text(event["default_payout"]), _text(event["currency"]),
        _NULL if moment is None else _TIME.pack(8, (moment - _POSTGRES_EPOCH_MS) * 1000),
        _text(event["security"]), _text(event["duplicate_mode"]),
        _text(event["cost_model"]), _text(event["cost_value"]),
        _text(event["source_ip"]), _text(event["method"]), _text(event["query"]), _text(event["origin"]),
    ))  # fmt: skip
    return PostbackRow(postback_id, row)


def _stranger(stream: bytes, seq: int, event: Event) -> StrangerRow:
    problem = wire.wrong_field("stranger", wire.STRANGER_FIELDS, event)
    if problem is not None:
        raise ValueError(problem)
    stranger_id = bytes.fromhex(event["id"])
    fixed = _STRANGER.pack(
        11, 16, stranger_id, 8, (event["ts"] - _POSTGRES_EPOCH_MS) * 1000, 2, event["reason"], 16, stream, 8, seq
    )
    texts = ("method", "path", "query", "ip", "user_agent", "referrer")
    return StrangerRow(stranger_id, b"".join((fixed, *(_given_text(event[name]) for name in texts))))


def _click_id(text: Any) -> bytes:
    if len(text) != _CLICK_ID_TEXT or text[:4] != "clk_":
        raise ValueError
    raw = a2b_base64(text[4:].encode().translate(_FROM_URL_SAFE), strict_mode=True)
    if len(raw) != CLICK_ID_BYTES:
        raise ValueError
    return raw


def _text(text: str | None) -> bytes:
    return _NULL if text is None else _given_text(text)


def _given_text(text: Any) -> bytes:
    encoded: bytes = text.encode()
    return _pack_length(len(encoded)) + encoded


_KINDS: Final[Mapping[int, tuple[str, Mapping[str, wire.Check], Callable[[bytes, int, Event], Row]]]] = {
    CLICK: ("click", wire.CLICK_FIELDS, _click),
    POSTBACK: ("postback", wire.POSTBACK_FIELDS, _postback),
    STRANGER: ("stranger", wire.STRANGER_FIELDS, _stranger),
}
