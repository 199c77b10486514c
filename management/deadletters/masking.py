"""Values that mean a secret, taken out of any text: a query, JSON, JSON in JSON, a query within a query. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"

_WORDS: Final = ("token", "secret", "password", "passwd", "apikey", "signature", "credential", "authorization")
_WHOLE_NAMES: Final = frozenset(("key", "pass", "pwd", "auth", "hmac"))
_BEGINNING: Final = "sig"
_LONGEST_NAME: Final = 64
# A value is looked at only where the name before it means a secret, so 64 KB of anything take no time.
_SIGN: Final = re.compile(r"=|%3[dD]")
_PARAMETER: Final = re.compile(r"(?:(?!\\\")[^&\"\s])*")
_ENCODED: Final = re.compile(r"(?:(?!%26|\\\")[^&\"\s])*")
_MEMBER: Final = re.compile(r"(\\{0,7}\")([^\"\\]{1,64})\1\s{0,9}:\s{0,9}")
_TEXT_OR_OTHER: Final = r"{quote}(?:(?!{quote})\\.|(?!{quote})[^\\])*(?:{quote})?|[^\s,{{}}\[\]]*"
_DELIMITER: Final = re.compile(r"[^\w.\-]")


def scrubbed(text: str) -> str:
    """`text` with `***` for the value of every `name=value` and `"name": value` whose name means a secret.

    The edge masks what it knows to be secret before it journals anything; this is for what it did not know.
    """
    return _without(_secret_parameters, _without(_secret_members, text))


Secret = tuple[int, int, str]
"""Where a value begins and ends, and what stands there instead."""


def _without(secrets: Callable[[str], Iterable[Secret]], text: str) -> str:
    pieces, at = list[str](), 0
    for begins, ends, mask in secrets(text):
        pieces += text[at:begins], mask
        at = ends
    return "".join((*pieces, text[at:]))


def _secret_members(text: str) -> Iterator[Secret]:
    at = 0
    for found in _MEMBER.finditer(text):
        if found.start() >= at and _is_secret(found[2]):
            quote = re.escape(found[1])
            value = re.compile(_TEXT_OR_OTHER.format(quote=quote)).match(text, found.end())
            assert value is not None
            at = value.end()
            yield value.start(), at, found[1] + MASK + found[1]


def _secret_parameters(text: str) -> Iterator[Secret]:
    at = 0
    for sign in _SIGN.finditer(text):
        if sign.start() >= at and _is_secret(text[max(0, sign.start() - _LONGEST_NAME) : sign.start()]):
            value = (_PARAMETER if sign[0] == "=" else _ENCODED).match(text, sign.end())
            assert value is not None
            at = value.end()
            yield value.start(), at, MASK


def _is_secret(before: str) -> bool:
    """Whether the name at the end of `before`, behind the last delimiter, is a secret's."""
    name = _DELIMITER.split(unquote(before).rstrip("[]"))[-1]
    plain = name.lower().replace("_", "").replace("-", "")
    return plain in _WHOLE_NAMES or plain.startswith(_BEGINNING) or any(word in plain for word in _WORDS)
