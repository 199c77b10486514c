"""A bounded memory of answers already worked out, cheap enough for the click path.

Two generations instead of a least-recently-used list: a hit is one dict look-up and moves nothing. When the young
generation is full it becomes the old one and the former old one is forgotten, so a flood of keys that are never seen
again costs one insertion each and pushes out at most what was not asked for during a whole generation.
"""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Maps keys to values (never None) and holds at most `capacity` entries."""

    __slots__ = ("_generation", "_old", "_young")

    def __init__(self, capacity: int) -> None:
        if capacity < 2:
            raise ValueError(f"capacity must be at least 2, not {capacity}")
        self._generation = capacity // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The remembered value or None. A value found in the old generation is carried into the young one."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remembers the value, forgetting the old generation when the young one is full."""
        young = self._young
        if len(young) >= self._generation:
            self._old = young
            self._young = young = {}
        young[key] = value

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
