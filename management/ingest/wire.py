"""What each field of an event may hold before it is stored: the wire form of shared.events met by the tables' columns.

`wrong_field` says in words what `decode`'s fast path refused without a word. Pure, slow, asked for bad records only.
"""

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from shared import postback
from shared.events import STRANGER_REASONS, Event
from shared.ids import click_id_bytes, click_id_text
from shared.money import parse_payout
from shared.traffic import CLASS_NAMES, FRAUD_NAMES, MODE_NAMES, OUTCOME_NAMES

LAST_MS: Final = 253_370_764_799_999
"""The end of the year 9998. Readers of the tables add windows to a moment, and to asyncpg Python's last day means
infinity, which has no partition."""
MODES, OUTCOMES = frozenset(MODE_NAMES), frozenset(OUTCOME_NAMES)
CLASSES, FRAUDS = frozenset(CLASS_NAMES), frozenset(FRAUD_NAMES)
REASONS = frozenset(postback.REASONS)
STATUSES = frozenset(postback.STATUSES)
STRANGERS = frozenset(STRANGER_REASONS)
EFFECTIVE: Final = frozenset((postback.ACCEPTED, postback.SUSPENDED_ACCOUNT, postback.DELETED_CAMPAIGN))
"""Reasons given at arrival whose call takes part in a conversion, and so gets a delta."""

Check = Callable[[Any], str | None]
"""What is wrong with a value, as the end of a sentence; None when nothing is."""


def wrong_field(kind_name: str, fields: Mapping[str, Check], event: Event) -> str | None:
    """One sentence about the first bad field; None when every field is well-formed."""
    for name, check in fields.items():
        if name not in event:
            return f"the {kind_name} has no `{name}`"
        problem = check(event[name])
        if problem is not None:
            return f"`{name}` of the {kind_name} {problem}"
    return None


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is not int:
            return "is not a whole number"
        return None if low <= value <= high else f"is not within {low} … {high}"

    return check


def _known(numbers: frozenset[int]) -> Check:
    def check(value: Any) -> str | None:
        return None if type(value) is int and value in numbers else "is no number known here"

    return check


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is not text"
    if "\0" in value:
        return "holds a NUL, which Postgres cannot store"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    return None


def _boolean(value: Any) -> str | None:
    return None if isinstance(value, bool) else "is neither true nor false"


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _amount(value: Any) -> str | None:
    return None if isinstance(value, str) and parse_payout(value) is not None else "is not an amount in decimals"


def _digest(value: Any) -> str | None:
    try:
        raw = binascii.a2b_base64(value, strict_mode=True) if isinstance(value, str) else b""
    except ValueError:
        raw = b""
    return None if len(raw) == 12 else "is not a digest of 16 base64 characters"


def _hexadecimal(prefix: str) -> Check:
    def check(value: Any) -> str | None:
        digits = value.removeprefix(prefix) if isinstance(value, str) and value.startswith(prefix) else ""
        fits = len(digits) == 32 and not set(digits) - set("0123456789abcdef")
        return None if fits else f"is not {prefix}32 hexadecimal digits" if prefix else "is not 32 hexadecimal digits"

    return check


def _click_id(value: Any) -> str | None:
    try:
        raw = click_id_bytes(value) if isinstance(value, str) and value.isascii() else b""
    except ValueError:
        raw = b""
    # Written back, it must read the same: the decoder passes over characters that are no part of the alphabet.
    return None if raw and click_id_text(raw) == value else "is not a click id"


def _details(value: Any) -> str | None:
    if not isinstance(value, dict):
        return "is not an object"
    return "holds a NUL, which Postgres cannot store" if holds_nul(value) else None


def holds_nul(value: Any) -> bool:
    """Whether any text in a JSON value, names included, has a NUL; not recursive, so no depth is too deep."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            if "\0" in part:
                return True
        elif isinstance(part, dict):
            left += part.keys()
            left += part.values()
        elif isinstance(part, list):
            left += part
    return False


_SMALL = _whole(-(2**15), 2**15 - 1)
_INTEGER = _whole(-(2**31), 2**31 - 1)
_LARGE = _whole(-(2**63), 2**63 - 1)
_MS = _whole(0, LAST_MS)

CLICK_FIELDS: Final[Mapping[str, Check]] = {
    "id": _click_id, "ts": _MS, "account": _INTEGER, "campaign": _INTEGER,
    "mode": _known(MODES), "outcome": _known(OUTCOMES), "class": _known(CLASSES), "fraud": _known(FRAUDS),
    "flags": _INTEGER, "score": _SMALL, "rules": _SMALL, "cost": _LARGE, "cost_from": _SMALL, "asn": _LARGE,
    "visitor": _digest, "visitor_prev": _digest, "address": _digest, "address_prev": _digest,
    "ip": _text, "country": _text, "device": _text, "os": _text, "browser": _text, "details": _details,
}  # fmt: skip

POSTBACK_FIELDS: Final[Mapping[str, Check]] = {
    "id": _hexadecimal(""), "ts": _MS, "account": _INTEGER, "campaign": _INTEGER,
    "click_id": _click_id, "conversion_id": _hexadecimal("conv_"),
    "event": _text, "transaction_id": _text, "status": _text,
    "payout": _or_null(_amount), "default_payout": _or_null(_amount), "currency": _text, "time": _or_null(_MS),
    "reason": _known(REASONS), "http_status": _SMALL, "security": _text, "trusted": _boolean,
    "duplicate_mode": _text, "cost_model": _or_null(_text), "cost_value": _or_null(_amount),
    "source_ip": _text, "method": _text, "query": _text, "origin": _text,
}  # fmt: skip

STRANGER_FIELDS: Final[Mapping[str, Check]] = {
    "id": _hexadecimal(""), "ts": _MS, "reason": _known(STRANGERS),
    "method": _text, "path": _text, "query": _text, "ip": _text, "user_agent": _text, "referrer": _text,
}  # fmt: skip
