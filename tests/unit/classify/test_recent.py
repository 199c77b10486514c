"""Covers edge.recent: what is remembered, and that it stays bounded."""

import pytest

from edge.recent import Recent


def test_remembers_what_was_put() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("a", 1)
    assert recent.get("a") == 1
    assert recent.get("b") is None


def test_flood_of_new_keys_never_exceeds_the_capacity() -> None:
    recent: Recent[int, int] = Recent(10)
    for key in range(1000):
        recent.put(key, key)
        assert len(recent) <= 10
    assert recent.get(999) == 999
    assert recent.get(0) is None


def test_key_that_is_asked_for_outlives_a_flood() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.put("regular", 1)
    for key in range(1000):
        recent.put(str(key), key)
        assert recent.get("regular") == 1


def test_capacity_below_two_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        Recent(1)
