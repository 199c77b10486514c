"""How large the unconsumed journal may grow, and how much of the disk it leaves to others."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.journal.meter import JournalMeter


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """`max_bytes`: of all streams under one root that are not consumed; `disk_reserve`: bytes left free by them."""

    max_bytes: int
    disk_reserve: int

    def wanted_free(self, journal: int) -> int:
        """Bytes that a journal of `journal` bytes leaves free: twice itself, so that a Postgres on the same disk can
        always take the backlog."""
        return max(self.disk_reserve, 2 * journal)

    def objection(self, journal: int, free: int, least_free: int = 0) -> str | None:
        """Why a journal of `journal` bytes may not grow with `free` bytes free; None when it may. `least_free` is
        what the writer needs to do anything at all."""
        if journal >= self.max_bytes:
            return f"the journal has {journal} bytes, and may have {self.max_bytes}"
        wanted = max(self.wanted_free(journal), least_free)
        if free < wanted:
            return f"the disk has {free} bytes free, and the journal leaves {wanted}"
        return None


NO_LIMITS: Final = JournalLimits(sys.maxsize, 0)


def free_bytes(path: Path) -> int:
    """What the file system of `path` has left for this process. Raises OSError."""
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize


class Space:
    """Whether the journal of `path`'s root may grow. Belongs to the loop, but for `measure`, which looks at the disk."""

    def __init__(self, path: Path, limits: JournalLimits, least_free: int) -> None:
        """`least_free` bytes must be there again once the disk ran out."""
        self._path = path
        self._limits = limits
        self._least_free = least_free
        self._meter = JournalMeter(path.parent)
        self._ran_out = False
        self.full: str | None = None
        """Why it may not grow; None when it may."""

    def run_out(self) -> None:
        """The disk had no room for a group, whatever was measured before."""
        self._ran_out = True
        self.full = "the disk has no space left"

    def measure(self, *, ran_out: bool) -> str | None:
        """Why the journal may not grow. `ran_out` as `has_run_out` was when this was asked for. Raises OSError."""
        least_free = self._least_free if ran_out else 0
        return self._limits.objection(self._meter.unconsumed_bytes(), free_bytes(self._path), least_free)

    @property
    def has_run_out(self) -> bool:
        return self._ran_out

    def measured(self, objection: str | None, *, ran_out: bool) -> None:
        """Takes what `measure` gave, unless the disk ran out since: then it says nothing."""
        if ran_out or not self._ran_out:
            self.full = objection
            self._ran_out = ran_out and objection is not None
