"""Where events come from: the contract of a source. Every one of them passes tests/contract/source_contract.py."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from management.ingest.batch import StreamRead

StoredPositions = Callable[[Sequence[bytes]], Awaitable[dict[bytes, int]]]
"""Asked once for each stream that a source notices: stream → first seq not stored; streams without one left out."""


class Round(NamedTuple):
    """What one `read` found. `more`: it ended at a limit, so the next read need not wait."""

    reads: list[StreamRead]
    more: bool


class Source(Protocol):
    """Called by the loop alone, never twice at once; lives as long as one connection to Postgres.

    A stream's first read begins at its stored position, each later one where the former ended, and together they
    settle every seq (a record or a gap). Nothing is given twice in one life; a new source begins at the stored
    positions again. What was not reported as committed is never let go.
    """

    async def read(self) -> Round:
        """What came since the last read, at once; every stream gets its share. Waits only for stored positions."""

    async def committed(self, positions: Mapping[bytes, int]) -> None:
        """These seqs (stream → the one that follows) are stored for good. Must not wait."""

    async def close(self) -> None:
        """Let go of files and connections; ends what runs in the background."""
