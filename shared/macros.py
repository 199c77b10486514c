"""Destination URLs with macros: judged once when saved, cut once when loaded, filled in per click.

A macro is `{name}`. It may stand only behind the first `/`, `?` or `#` that follows the authority, and every value is
percent-encoded for its slot, so that no value changes scheme, host, port, path or another parameter (security X1).
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote

CLICK_MACROS: Final = frozenset(
    (
        "clickid", "click_id", "campaign_id", "campaign_uuid", "campaign_name", "sub_id", "external_id",
        "country", "region", "city", "isp", "asn", "device", "os", "os_version", "browser", "browser_version",
        "language", "referrer_domain", "cost", "timestamp", "random",
        "gclid", "wbraid", "gbraid", "fbclid", "ttclid", "msclkid",
        *(f"sub{number}" for number in range(1, 21)),
    )
)  # fmt: skip
"""Macros with a fixed name. `sub_id` is `sub1`; `timestamp` is in whole seconds since 1970."""

_FAMILY = re.compile(r"utm_[a-z0-9_]{1,40}|param:[A-Za-z0-9_.~-]{1,64}")
"""Beside the fixed names: any `utm_…`, and `param:x` for the parameter x of the tracking link, whatever its name."""

UNRESERVED_MACROS: Final = frozenset(
    ("clickid", "click_id", "campaign_id", "country", "asn", "cost", "timestamp", "random")
)
"""Macros whose values are numbers, country codes or click ids: unreserved characters by construction, so that a
template need not look at them."""

MAX_URL = 4096
MAX_MACROS = 100
"""So that no visitor's parameters make an address of megabytes out of one."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_UNFIT = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_AUTHORITY_END = re.compile(r"[/?#]")
_MACRO = re.compile(r"\{([^{}]*)\}")
_KEPT_ESCAPE = re.compile(r"%25((?:[01][0-9A-F]|7F|[89A-F][0-9A-F]))", re.IGNORECASE)
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_DOT_SEGMENTS = frozenset((".", ".."))


class MacroError(ValueError):
    """The URL cannot be a destination; the text is one sentence for the person who wrote it."""


def is_macro(name: str) -> bool:
    """Whether `{name}` stands for something."""
    return name in CLICK_MACROS or _FAMILY.fullmatch(name) is not None


def check_url(url: str) -> None:
    """Raise MacroError for the first thing that makes `url` unfit as a destination.

    Covers the macros and the plain shape; whether a browser can read the URL is the WHATWG parser's judgement, which
    whoever saves a URL adds.
    """
    if len(url) > MAX_URL:
        raise MacroError(f"The URL is longer than {MAX_URL} characters")
    if _UNFIT.search(url):
        raise MacroError(
            "The URL contains a blank, a control character, half a character or a backslash; write %20 or %5C"
        )
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise MacroError("The URL must begin with http:// or https://")
    end = _AUTHORITY_END.search(url, scheme.end())
    authority = url[scheme.end() : end.start() if end else len(url)]
    if "{" in authority or "}" in authority:
        raise MacroError("A macro may stand only after the first /, ? or # that follows the host")
    if not authority or "@" in authority:
        raise MacroError("The URL must name a host, without user name or password")
    if not authority.isascii():
        raise MacroError("The host must be written in its ASCII form (xn--…)")
    rest = url[scheme.end() + len(authority) :]
    names = _MACRO.findall(rest)
    if len(names) > MAX_MACROS:
        raise MacroError(f"The URL has more than {MAX_MACROS} macros")
    for name in names:
        if not is_macro(name):
            raise MacroError(f"The macro {{{name}}} is not known; for a parameter of the link write {{param:name}}")
    if re.search(r"[{}]", _MACRO.sub("", rest)):
        raise MacroError("The URL has a brace that belongs to no macro; write %7B or %7D instead")


def encode_value(value: str) -> str:
    """`value` percent-encoded so that it stands as itself in a path segment, a query or a fragment.

    Escapes that stand for a byte which is no text (`%ff`, `%00`: parse kept them) pass as they are, because the byte
    they stand for cannot be written otherwise; they never decode to a character with a meaning in a URL.
    """
    # the first question asks less and answers most values
    if (value.isalnum() and value.isascii()) or _UNRESERVED(value):
        return value
    encoded = quote(value, safe="")
    return _KEPT_ESCAPE.sub(r"%\1", encoded) if "%25" in encoded else encoded


class UrlTemplate:
    """A checked URL, cut at its macros, once, when it is loaded. `slots` names the macro of each slot, in order."""

    __slots__ = ("_free", "_parts", "_pieces", "slots")

    def __init__(self, url: str) -> None:
        """Raises MacroError as `check_url` does."""
        check_url(url)
        pieces = _pieces(url)
        flat = len(pieces) == 1
        self._pieces = () if flat else pieces
        """Only where a macro stands in the path: there a value must not become a dot segment."""
        self._parts = pieces[0].parts if flat else ()
        """Of any other URL: literals at even places, macro names at odd ones."""
        self.slots, self._free = _plan(tuple(name for piece in pieces for name in piece.parts[1::2]))
        """`_free` are the places of values that anyone may have written."""

    @property
    def names(self) -> tuple[str, ...]:
        """The macros that the URL needs, each once."""
        return tuple(dict.fromkeys(self.slots))

    def expand(self, values: Mapping[str, str]) -> str:
        """The URL with `values` filled in, pure ASCII; a macro without value becomes empty."""
        return self.fill([values.get(name, "") for name in self.slots])

    def fill(self, values: Sequence[str]) -> str:
        """The URL with one value for each slot filled in, pure ASCII."""
        if self._pieces:
            rest = iter(values)
            return "".join([piece.fill(rest) for piece in self._pieces])
        parts = list(self._parts)
        parts[1::2] = values
        for place in self._free:
            parts[place] = encode_value(parts[place])
        return "".join(parts)


class _Piece:
    """A run of the URL: literals at even places, macro names at odd ones. A `segment` is one whole path segment."""

    __slots__ = ("parts", "segment")

    def __init__(self, text: str, *, segment: bool) -> None:
        parts = _MACRO.split(text)
        parts[::2] = [_literal(literal) for literal in parts[::2]]
        parts[1::2] = [sys.intern(name) for name in parts[1::2]]
        self.parts = tuple(parts)
        self.segment = segment

    def fill(self, values: Iterator[str]) -> str:
        """The run with the next of `values` in each of its slots."""
        parts = list(self.parts)
        for place in range(1, len(parts), 2):
            parts[place] = encode_value(next(values))
        text = "".join(parts)
        # WHATWG resolves `.`, `..` and their %2e spellings, which would change the number of segments.
        if self.segment and len(text) <= 6 and text.lower().replace("%2e", ".") in _DOT_SEGMENTS:
            return "_"
        return text


@lru_cache(maxsize=4096)
def _literal(text: str) -> str:
    """A literal as it stands in the address; remembered, because thousands of destinations begin alike."""
    return quote(text, safe="!#$%&'()*+,/:;=?@[]~|^`\"<>")


@lru_cache(maxsize=1024)
def _plan(slots: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The slots and which of their places in the parts need encoding: thousands of destinations share a few."""
    return slots, tuple(2 * n + 1 for n, name in enumerate(slots) if name not in UNRESERVED_MACROS)


def _pieces(url: str) -> tuple[_Piece, ...]:
    cut = _cut_query(url)
    path, rest = url[:cut], url[cut:]
    pieces: list[_Piece] = []
    literal = ""
    for place, segment in enumerate(path.split("/")):
        slash = "/" if place else ""
        if "{" in segment:
            pieces.append(_Piece(literal + slash, segment=False))
            pieces.append(_Piece(segment, segment=True))
            literal = ""
        else:
            literal += slash + segment
    pieces.append(_Piece(literal + rest, segment=False))
    return tuple(pieces)


def _cut_query(url: str) -> int:
    found = re.search(r"[?#]", url)
    return found.start() if found else len(url)
