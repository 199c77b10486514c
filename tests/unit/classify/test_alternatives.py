"""Covers edge.classify.alternatives: an expression taken apart matches what it matched whole. That verdicts stay the
same is in test_bots.py and test_user_agent.py."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.classify.alternatives import alternatives
from edge.classify.bots import programs
from edge.classify.devices import TABLE

PATTERNS = sorted({program.pattern for program in programs()} | {pattern for pattern, _ in TABLE})
DIVIDED = [pattern for pattern in PATTERNS if len(alternatives(pattern)) > 1]
COMPILED = [(re.compile(pattern), [re.compile(part) for part in alternatives(pattern)]) for pattern in DIVIDED]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("bot", ["bot"]),
        ("a|b", ["a", "b"]),
        ("(?i)a|b|c", ["(?i)a", "(?i)b", "(?i)c"]),
        ("(a|b)c|d", ["(a|b)c", "d"]),
        ("(?:a|(?:b|c))", ["(?:a|(?:b|c))"]),
        (r"a\|b|c", [r"a\|b", "c"]),
        (r"\(a|b\)", [r"\(a", r"b\)"]),
        ("[|]|x", ["[|]", "x"]),
        ("[]|]|x", ["[]|]", "x"]),
        ("[^]|]|x", ["[^]|]", "x"]),
        (r"[\]|]|x", [r"[\]|]", "x"]),
        ("[()]|x", ["[()]", "x"]),
        ("^a|b$", ["^a", "b$"]),
        ("", [""]),
    ],
)
def test_only_the_outermost_bars_divide(pattern: str, expected: list[str]) -> None:
    assert alternatives(pattern) == expected


def test_the_tables_have_expressions_to_divide() -> None:
    assert len(DIVIDED) > 50


@settings(deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.sampled_from(DIVIDED), st.from_regex(r"[A-Za-z/;:(). \d-]{0,40}")))
def test_some_alternative_matches_when_the_whole_does(text: str) -> None:
    for whole, parts in COMPILED:
        assert any(part.search(text) for part in parts) == (whole.search(text) is not None), whole.pattern
