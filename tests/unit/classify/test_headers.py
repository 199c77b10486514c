"""Covers edge.classify.headers: which header values announce a prefetch. What the edge answers then: the handler's
tests."""

import pytest

from edge.classify.headers import is_prefetch


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"sec_purpose": "prefetch"}, id="current prefetch"),
        pytest.param({"sec_purpose": "prefetch;prerender"}, id="speculation rules prerender"),
        pytest.param({"sec_purpose": "prefetch;anonymous-client-ip"}, id="private prefetch proxy"),
        pytest.param({"sec_purpose": " Prefetch ; Prerender"}, id="case and blanks"),
        pytest.param({"purpose": "prefetch"}, id="older Chromium"),
        pytest.param({"purpose": "preview"}, id="Safari top sites"),
        pytest.param({"x_purpose": "preview"}, id="older Safari"),
        pytest.param({"x_moz": "prefetch"}, id="Firefox"),
        pytest.param({"purpose": "other, prefetch"}, id="second of a list"),
        pytest.param({"sec_purpose": '"prefetch"'}, id="quoted"),
        pytest.param({"sec_purpose": "fresh", "x_moz": "prefetch"}, id="only one of two"),
    ],
)
def test_speculative_request_is_a_prefetch(headers: dict[str, str]) -> None:
    assert is_prefetch(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no headers"),
        pytest.param({"sec_purpose": ""}, id="empty"),
        pytest.param({"purpose": "navigate"}, id="another purpose"),
        pytest.param({"sec_purpose": "noprefetch"}, id="word inside a word"),
        pytest.param({"x_moz": "livebookmarks"}, id="Firefox for another reason"),
        pytest.param({"sec_purpose": ";;,,"}, id="separators only"),
    ],
)
def test_ordinary_request_is_none(headers: dict[str, str]) -> None:
    assert not is_prefetch(**headers)
