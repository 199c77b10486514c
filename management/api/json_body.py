"""Reads a JSON body strictly (security X13): what two parsers could read differently is refused.

Numbers with a fraction or exponent become Decimal, never float. Raises Refusal with the fitting error.
"""

import json
import re
from decimal import Decimal, DecimalException
from typing import Any, Final

from management.errors import UNSUPPORTED_MEDIA_TYPE, VALIDATION, Refusal

MAX_BODY: Final = 1_048_576
MAX_DEPTH: Final = 32

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_OPENING = b"[{"
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MAX_DIGITS = 64
_JSON_TYPE = re.compile(r"application/(?:json|[a-z0-9.!#$&^_+-]+\+json)", re.IGNORECASE)


def require_json(content_type: str | None) -> None:
    """Refuse a body that does not say it is JSON in UTF-8."""
    kind, _, parameters = (content_type or "").partition(";")
    charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.IGNORECASE)
    if _JSON_TYPE.fullmatch(kind.strip()) is None or (charset and charset[1].lower() not in ("utf-8", "utf8")):
        raise Refusal(UNSUPPORTED_MEDIA_TYPE)


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`."""
    if _depth(raw) > MAX_DEPTH:
        raise _refused(f"The body is nested deeper than {MAX_DEPTH} levels")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("The body is not UTF-8") from None
    try:
        content = json.loads(
            text,
            object_pairs_hook=_members,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise _refused("The body is not valid JSON") from None
    if not isinstance(content, dict):
        raise _refused("The body must be a JSON object")
    _check_text(content)
    return content


def _refused(sentence: str) -> Refusal:
    return Refusal(VALIDATION, sentence, {"body": [sentence]})


def _depth(raw: bytes) -> int:
    """The deepest nesting, at most MAX_DEPTH + 1: counting ends there."""
    depth = deepest = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        if byte in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
            if depth > MAX_DEPTH:
                break
        else:
            depth -= 1
    return deepest


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            shown = name[:64] if _is_text(name[:64]) else "named"
            raise Refusal(VALIDATION, f"The {shown} field stands twice", {shown: [f"The {shown} field stands twice"]})
        members[name] = value
    return members


def _decimal(text: str) -> Decimal:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number out of all bounds")
    try:
        number = Decimal(text)
    except DecimalException:
        raise ValueError("a number out of all bounds") from None
    if not number.is_finite():
        raise ValueError("a number out of all bounds")
    return number


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number out of all bounds")
    return int(text)


def _constant(name: str) -> object:
    raise _refused(f"{name} is not a JSON value")


def _is_text(text: str) -> bool:
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_text(content: object) -> None:
    """Refuse NUL and lone surrogates, which neither Postgres nor UTF-8 can hold, in any name or value."""
    waiting = [content]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str) and not _is_text(found):
            raise _refused("The body holds a NUL or a lone surrogate")
        if isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, list):
            waiting += found
