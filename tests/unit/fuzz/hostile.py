"""What strangers send, as hypothesis strategies: bytes, texts and queries near the places where readers go wrong."""

import string
from collections.abc import Sequence

from hypothesis import strategies as st

SHARP_BYTES = (
    b"%", b"%z", b"%00", b"%0d%0a", b"%25", b"%2", b"%26", b"%3D", b"%2B", b"+", b";", b"=", b"&", b"#", b"?", b"/",
    b"..", b"@", b"\\", b'"', b"'", b"{sub1}", b"\x00", b"\r\n", b"\x1b[31m", b"\x7f", b"\x85", b"\xff", b"\xc0\xaf",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"%E2%80%A9", b"\xc3\xbc", b"%c3%BC", b"%c3",
    b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b"\xc2\x80", b"%C2%9f", b"${jndi:ldap://x}", b"<script>", b"%u0041", b"\xd9\xa1",
)  # fmt: skip
"""Broken and overlong UTF-8, half escapes, every kind of control, separators, and words that other programs obey."""

raw_values = st.one_of(
    st.sampled_from(SHARP_BYTES),
    st.text(string.ascii_letters + string.digits + "-._~ ", max_size=12).map(str.encode),
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(SHARP_BYTES), min_size=2, max_size=5).map(b"".join),
)
"""One parameter's or header's value as it comes over the wire."""

clean_texts = st.text(st.characters(codec="utf-8"), max_size=20)
"""Any text that can be encoded."""

PARAMETER_NAMES = (
    b"sub1", b"sub2", b"sub20", b"sub21", b"sub0", b"SUB1", b"s%75b1", b"external_id", b"gclid", b"fbclid", b"msclkid",
    b"utm_source", b"cost", b"price", b"zone", b"visitor", b"", b"a", b"%00", b"\xff",
)  # fmt: skip


def _query(pairs: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    return b"&".join(name if value is None else name + b"=" + value for name, value in pairs)


_usual_pair = st.tuples(
    st.sampled_from((b"sub1", b"sub2", b"external_id", b"gclid", b"price", b"cost", b"zone", b"visitor", b"a")),
    st.sampled_from((b"", b"1", b"2", b"0.25")),
)
_pair = _usual_pair | st.tuples(st.sampled_from(PARAMETER_NAMES) | raw_values, st.none() | raw_values)

_LETTERS = (b"x", b"\xc3\xbc", b"%C3%BC", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"+")


def _long(length: int, letter: bytes, offset: int, name: bytes, rest: bytes) -> bytes:
    """A value of about `length` bytes once it is decoded."""
    decoded = len(letter) if b"%" not in letter else len(letter) // 3
    return name + b"=" + b"y" * offset + letter * ((length - offset) // decoded) + rest


queries = st.one_of(
    st.lists(_pair, max_size=8).map(_query),
    st.lists(_usual_pair, max_size=9).map(_query),
    st.binary(max_size=80),
    st.lists(st.sampled_from((*SHARP_BYTES, *PARAMETER_NAMES)), max_size=12).map(b"".join),
    st.builds(
        lambda count, last: b"&".join([*(b"p%d" % n for n in range(count)), _query([last])]),
        st.integers(98, 101),
        st.just((b"last", b"1")) | _pair,
    ),
    st.builds(
        _long,
        st.integers(1020, 1030),
        st.sampled_from(_LETTERS),
        st.integers(0, 3),
        st.sampled_from((b"", b"sub1", b"s%75b1")),
        st.sampled_from((b"", b"&sub2=after")),
    ),
)  # fmt: skip
"""A link's query: usual, with repeated names, arbitrary, about one hundred parameters, values about as long as may be
kept."""
