"""Destinations with macros, made at random and filled with anything: what a browser then reads is where the campaign
wanted it to go. The judge is ada-url, a WHATWG parser.

Fixed templates, refusals by example and the words of each refusal are in ../test_macros.py.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.macros import MAX_URL, MacroError, UrlTemplate, check_url, encode_value, is_macro
from tests.unit.fuzz.effort import searched
from tests.unit.fuzz.hostile import SHARP_BYTES, clean_texts

MACROS = ("sub1", "sub2", "external_id", "param:x", "utm_source")
SHARP_TEXTS = [raw.decode("utf-8", "replace") for raw in SHARP_BYTES]
SHARP_VALUES = (
    "", ".", "..", "%2e", "%2E%2e", "/", "//evil.example", "/../", "\\", "?", "#", "&", "=", "&b=2", "#x", "@evil.example",
    ":8443", "\r\nSet-Cookie: a=b", "\t", "\x00", "{sub1}", "{", "%", "%2", "%ff", "%0d%0a", "%26", "%23", "%2f", "٣", "é",
)  # fmt: skip
values = st.sampled_from(SHARP_VALUES) | clean_texts | st.lists(st.sampled_from(SHARP_TEXTS), max_size=4).map("".join)
fillings = st.fixed_dictionaries({}, optional={name: values for name in MACROS})

_literal = st.sampled_from(
    ("a", "item", "x-1", ".", "..", "%2e", "%2", "%", "b,c", ";p", "é", "~", "'", "[]", "<", '"', "|")
)
_macro = st.sampled_from(MACROS).map(lambda name: f"{{{name}}}")
_part = st.lists(_literal | _macro, max_size=3).map("".join)
_origin = st.builds(
    lambda scheme, host, port: f"{scheme}://{host}{port}",
    st.sampled_from(("https", "http", "HTTPS")),
    st.sampled_from(
        ("shop.example", "Shop.Example", "127.0.0.1", "[2001:db8::1]", "xn--bcher-kva.example", "localhost")
    ),
    st.sampled_from(("", ":80", ":8443")),
)


@dataclass(frozen=True)
class Parts:
    """A destination as it was put together: None where it has no path, query or fragment."""

    origin: str
    segments: list[str] | None
    pairs: list[tuple[str, str | None]] | None
    fragment: str | None

    @property
    def url(self) -> str:
        url = self.origin
        if self.segments is not None:
            url += "/" + "/".join(self.segments)
        if self.pairs is not None:
            url += "?" + "&".join(name if value is None else f"{name}={value}" for name, value in self.pairs)
        return url if self.fragment is None else f"{url}#{self.fragment}"


destinations = st.builds(
    Parts,
    _origin,
    st.none() | st.lists(_part, min_size=1, max_size=4),
    st.none() | st.lists(st.tuples(_part, st.none() | _part), min_size=1, max_size=4),
    st.none() | _part,
)


def search_pairs(url: ada_url.URL) -> list[str]:
    return str(url.search.removeprefix("?")).split("&")


@searched
@given(destinations, fillings)
@example(Parts("https://h.example", ["{sub1}{sub2}", "end"], None, None), {"sub1": ".", "sub2": "%2e"})
@example(Parts("https://h.example", None, None, "{sub1}"), {"sub1": "x"})
@example(Parts("https://h.example", ["%2{sub1}", "end"], None, None), {"sub1": "e"})
@example(Parts("https://h.example", None, [("a", "%2{sub1}"), ("b", "1")], None), {"sub1": "6"})
def test_no_value_changes_where_a_browser_goes(parts: Parts, filling: dict[str, str]) -> None:
    template = UrlTemplate(parts.url)
    expanded = template.expand(filling)
    assert re.fullmatch("[!-~]*", expanded), "ASCII without controls and blanks"
    plain = ada_url.URL(template.expand(dict.fromkeys(MACROS, "x")))
    found = ada_url.URL(expanded)
    assert (found.protocol, found.hostname, found.port) == (plain.protocol, plain.hostname, plain.port)
    assert (found.username, found.password) == ("", "")
    assert (found.pathname.count("/")) == plain.pathname.count("/")
    assert ("?" in expanded, "#" in expanded) == ("?" in parts.url.partition("#")[0], parts.fragment is not None)

    assert len(search_pairs(found)) == len(search_pairs(plain))
    for (name, value), ours, theirs in zip(parts.pairs or [], search_pairs(found), search_pairs(plain), strict=False):
        assert ours.count("=") == theirs.count("=")
        if "{" not in name + (value or ""):
            assert ours == theirs
        elif "{" not in name:
            assert ours.partition("=")[0] == theirs.partition("=")[0]
    segments = zip(parts.segments or [], found.pathname.split("/")[1:], plain.pathname.split("/")[1:], strict=False)
    if not any(re.fullmatch(r"(?:\.|%2e){1,2}", segment, re.IGNORECASE) for segment in parts.segments or []):
        for written, ours, theirs in segments:
            assert "{" in written or ours == theirs
    if parts.fragment is not None and "{" not in parts.fragment:
        assert found.hash == plain.hash


def meant(value: str) -> bytes:
    """What a value stands for: itself, and the bytes that are no text where parse kept their escapes."""
    found = b""
    while value:
        escape = re.match("%([0-9A-Fa-f]{2})", value)
        if escape and not 0x20 <= int(escape[1], 16) < 0x7F:
            found, value = found + bytes((int(escape[1], 16),)), value[3:]
        else:
            found, value = found + value[0].encode(), value[1:]
    return found


@searched
@given(values, st.sampled_from(("", "a/", "a/b/")), st.sampled_from(("", "/end", "/")))
def test_a_value_reads_back_where_it_was_placed(value: str, before: str, after: str) -> None:
    template = UrlTemplate(f"https://h.example/{before}{{sub1}}{after}?a={{sub1}}&{{sub1}}=b&c=%20#{{sub1}}")
    url = ada_url.URL(template.expand({"sub1": value}))
    wanted = meant(value)
    in_path = url.pathname.removeprefix("/" + before)[: -len(after) or None]
    assert unquote_to_bytes(in_path) == (b"_" if value in (".", "..") else wanted)
    first, second, third = search_pairs(url)
    assert unquote_to_bytes(first) == b"a=" + wanted
    assert unquote_to_bytes(second) == wanted + b"=b"
    assert third == "c=%20"
    assert unquote_to_bytes(url.hash.removeprefix("#")) == wanted


@searched
@given(values)
def test_an_encoded_value_holds_nothing_that_divides(value: str) -> None:
    assert re.fullmatch("(?:[A-Za-z0-9_.~-]|%[0-9A-Fa-f]{2})*", encode_value(value))


SHARP_PIECES = (
    "https://", "h.example", "/", "?", "#", "{sub1}", "{", "}", "{clickid", "{nope}", "@", ":", "\\", " ", "\x7f", "\x85",
    "é", "\ud800", "%", "{param:a b}", "{utm_x}", "[::1]", "..", "{{sub1}}", "\n",
)  # fmt: skip
_any_url = st.one_of(
    st.text(max_size=40),
    st.builds("{}{}".format, st.sampled_from(("https://", "http://", "HTTP://", "https:/", "ftp://")), st.text(max_size=30)),
    st.lists(st.sampled_from(SHARP_PIECES), max_size=8).map(lambda found: "https://h" * (len(found) % 2) + "".join(found)),
    st.integers(MAX_URL - 2, MAX_URL + 2).map(lambda length: "https://h.example/".ljust(length, "a")),
    destinations.map(lambda parts: parts.url),
)  # fmt: skip


@searched
@given(_any_url)
@example("https://h.example/\ud800")
@example("https://h.example/{sub1")
def test_what_is_compiled_is_what_may_be_saved(url: str) -> None:
    try:
        check_url(url)
    except MacroError:
        with pytest.raises(MacroError):
            UrlTemplate(url)
        return
    template = UrlTemplate(url)
    assert not set("{}") & set(re.sub(r"\{[^{}]*\}", "", url)), "a brace belongs to a macro"
    assert set(template.names) == set(re.findall(r"\{([^{}]*)\}", url))
    assert all(is_macro(name) for name in template.names)
    assert re.fullmatch("[!-~]+", template.expand({}))
    scheme, _, rest = url.partition("://")
    assert scheme.lower() in ("http", "https")
    origin = f"{scheme}://{re.split('[/?#]', rest)[0]}"
    hostile = template.expand(dict.fromkeys(template.names, "/@evil.example:1?#"))
    assert hostile[: len(origin)] == origin
    assert hostile[len(origin) : len(origin) + 1] in ("", "/", "?", "#")
