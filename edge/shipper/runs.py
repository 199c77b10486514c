"""Where in a partition a stream's acknowledged records lie: an upper bound for each, in bounded memory. Pure."""

from typing import Final, NamedTuple

MOST_RUNS: Final = 1_024
"""A stream remembers so many; then neighbours are joined, which makes the bounds of older records coarser."""


class Run(NamedTuple):
    """The seqs first … last were acknowledged at or below `last_offset`.

    Each seq has an offset of its own, ascending, so an earlier one lies at least as far below as its seq does; where
    that does not hold (a gap is one message for many seqs) the run is `flat`.
    """

    first: int
    last: int
    last_offset: int
    flat: bool = False

    def bound(self, seq: int) -> int:
        """The offset that `seq` does not lie above."""
        return self.last_offset if self.flat else self.last_offset - (self.last - seq)

    def joined(self, later: "Run") -> "Run":
        """One run for both, `later` being the one that follows."""
        return Run(self.first, later.last, later.last_offset, self.flat or later.flat)

    def goes_on_in(self, later: "Run") -> bool:
        """Whether `later` can be joined without making any bound coarser."""
        flat = self.flat or later.flat
        return not flat and later.last_offset - self.last_offset == later.last - self.last


class Runs:
    """Consecutive runs of one stream, ascending, with one bound for everything before them."""

    __slots__ = ("_runs", "before")

    def __init__(self, before: int | None) -> None:
        """`before`: what is acknowledged and not in a run lies at or below this offset; None: nobody knows."""
        self.before = before
        self._runs: list[Run] = []

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def last_bound(self) -> int | None:
        """The offset above which nothing was acknowledged; None when nobody knows."""
        return self._runs[-1].last_offset if self._runs else self.before

    def append(self, run: Run) -> None:
        """`run` follows the last one."""
        if self._runs and self._runs[-1].goes_on_in(run):
            self._runs[-1] = self._runs[-1].joined(run)
            return
        self._runs.append(run)
        if len(self._runs) > MOST_RUNS:
            pairs = zip(self._runs[::2], self._runs[1::2], strict=False)
            odd = self._runs[-1:] if len(self._runs) % 2 else []
            self._runs = [earlier.joined(later) for earlier, later in pairs] + odd

    def bound(self, seq: int) -> int | None:
        """The offset that the acknowledged `seq` does not lie above; None when nobody knows."""
        for run in self._runs:
            if run.first <= seq <= run.last:
                return run.bound(seq)
        return self.before

    def drop_below(self, seq: int) -> None:
        """Forgets the single places of what comes before `seq`: of these only one bound is kept."""
        passed = [run for run in self._runs if run.first < seq]
        if not passed:
            return
        self.before = passed[-1].bound(min(seq - 1, passed[-1].last))
        last = passed[-1]
        rest = [last._replace(first=seq)] if last.last >= seq else []
        self._runs = rest + self._runs[len(passed) :]

    def drop_from(self, seq: int) -> None:
        """Forgets that `seq` and what follows was acknowledged."""
        kept = [run for run in self._runs if run.first < seq]
        if kept and kept[-1].last >= seq:
            kept[-1] = Run(kept[-1].first, seq - 1, kept[-1].bound(seq - 1), kept[-1].flat)
        self._runs = kept
