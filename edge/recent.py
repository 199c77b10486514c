"""Bounded memories of answers already worked out, cheap enough for the click path.

Two generations instead of a least-recently-used list: a hit is one dict look-up and moves nothing. When the young
generation is full it becomes the old one and the former old one is forgotten, so a flood of keys that are never seen
again costs one insertion each and pushes out at most what was not asked for during a whole generation.
"""

import sys
from collections.abc import Callable, Sized
from typing import Any, Final, TypeVar

V = TypeVar("V")
Text = TypeVar("Text", bound=Sized)

_NOT_KNOWN: Final[Any] = object()


class Known(dict[Text, V]):
    """`known[key]` is `make(key)`, worked out once while the key keeps coming.

    A dict itself, because a subscript that is found then costs no call of ours. Only subscripts ask: every other
    method is the plain dict's and sees the young generation alone.
    """

    __slots__ = ("_generation", "_longest", "_make", "_old")

    def __init__(self, capacity: int, make: Callable[[Text], V], longest: int = sys.maxsize) -> None:
        """Holds at most `capacity` entries; keys longer than `longest` are worked out every time."""
        if capacity < 2:
            raise ValueError(f"capacity must be at least 2, not {capacity}")
        super().__init__()
        self._generation = capacity // 2
        self._make = make
        self._longest = longest
        self._old: dict[Text, V] = {}

    def __missing__(self, key: Text) -> V:
        value: V = self._old.pop(key, _NOT_KNOWN)
        if value is _NOT_KNOWN:
            value = self._make(key)
            if len(key) > self._longest:
                return value
        if len(self) >= self._generation:
            self._old = dict(self)
            self.clear()
        self[key] = value
        return value

    def count(self) -> int:
        """How many entries are held, in both generations."""
        return len(self) + len(self._old)
