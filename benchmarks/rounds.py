"""Shuffled rounds and what is said of them: medians, their spread, and ratios of two runs of the same round.

These machines are shared and single runs differ by a third, so a ratio is only ever taken within a round, and its
median is quoted with the least and the greatest.
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from rich.progress import Progress

from benchmarks import wrk
from benchmarks.machine import SERVER_CPU
from benchmarks.servers import Server
from benchmarks.wrk import Load

T = TypeVar("T")
WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds, and seconds of one run beside its warm-up. `seconds` are of the runs that marks
    hang on, `short_seconds` of the others, `chain_seconds` of the filling of the journal for ingest and fold;
    `campaigns` are loaded wherever nothing else is said; `behind_rounds` are of the questions behind the edge."""

    quick: bool
    campaigns: int
    rounds: int
    seconds: float
    short_seconds: float
    latency_rounds: int
    latency_seconds: float
    core_rounds: int
    chain_seconds: int
    behind_rounds: int


FULL = Scale(
    quick=False,
    campaigns=100_000,
    rounds=5,
    seconds=3,
    short_seconds=2,
    latency_rounds=5,
    latency_seconds=3,
    core_rounds=30,
    chain_seconds=10,
    behind_rounds=3,
)
QUICK = Scale(
    quick=True,
    campaigns=20_000,
    rounds=1,
    seconds=1,
    short_seconds=1,
    latency_rounds=1,
    latency_seconds=1,
    core_rounds=5,
    chain_seconds=2,
    behind_rounds=1,
)


class BadRun(Exception):
    """Answers were refused or connections broken, so that the figures would mean something else."""


class Spread(NamedTuple):
    """Of the values of all rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: str) -> str:
        """As `median (least … greatest)`, each in `form`."""
        return f"{self.median:{form}} ({self.least:{form}} … {self.greatest:{form}})"


class Capacity(NamedTuple):
    """One closed-loop run: answers a second, processor time of the workers a click in µs, and how busy they were."""

    rate: float
    cpu_us: float
    busy: float


Figures = dict[str, list[Capacity]]
"""By name of the run, one figure a round; equal places are of the same round."""


TOLERATED: Final = 500
"""One socket error in so many answers: with a connection for each click the client's ports run out now and then,
because they rest for a minute after use, and bare uvicorn has such errors too."""


def capacity(
    server: Server, load: Load, seconds: float, cpus: tuple[int, ...] = (SERVER_CPU,), spread: int = 1
) -> Capacity:
    """One run of wrk against a server. Raises BadRun; counts what was answered in `server.answered`.

    `spread` is the number of processors that its workers have."""
    with server.measured(cpus):
        before = server.cpu_seconds()
        outcome = wrk.drive(server.port, load, seconds, seed=random.randrange(1 << 31))
        used = server.cpu_seconds() - before
    server.answered += outcome.answers
    if outcome.bad or outcome.errors > outcome.answers // TOLERATED or not outcome.answers:
        raise BadRun(f"{server.name}: {outcome.answers} answers, {outcome.bad} refused, {outcome.errors} socket errors")
    return Capacity(outcome.answers / outcome.seconds, used / outcome.answers * 1e6, used / outcome.seconds / spread)


def shuffled(runs: Mapping[str, Callable[[], T]], rounds: int, progress: Progress, title: str) -> dict[str, list[T]]:
    """Every run once a round, in an order of its own each round."""
    found: dict[str, list[T]] = {name: [] for name in runs}
    task = progress.add_task(title, total=rounds * len(runs))
    for _ in range(rounds):
        for name in random.sample(sorted(runs), len(runs)):
            found[name].append(runs[name]())
            progress.advance(task)
    progress.remove_task(task)
    return found


def warm_up(servers: Sequence[Server]) -> None:
    """One short run each, the first time, not counted: caches are filled, segments reserved, code paths taken."""
    for server in servers:
        if server.answered:
            continue
        with server.measured():
            server.answered += wrk.drive(server.port, Load(campaigns=server.campaigns), WARM_UP_SECONDS, seed=0).answers


def ratios(figures: Figures, name: str, peer: str) -> Spread:
    """Of answers a second, each of two runs of one round."""
    return Spread.of([ours.rate / theirs.rate for ours, theirs in zip(figures[name], figures[peer], strict=True)])


def rates(figures: Figures, name: str) -> Spread:
    return Spread.of([run.rate for run in figures[name]])


def heading(title: str, columns: str = "") -> None:
    print(f"\n{title}")
    if columns:
        print(columns)


CAPACITY_COLUMNS = (
    f"  {'':<38} {'answers/s (min … max)':>28}  {'of bare uvicorn (min … max)':>27} {'µs CPU':>7} {'busy':>6}"
)


def capacity_line(label: str, figures: Figures, name: str, peer: str) -> None:
    """One line below CAPACITY_COLUMNS: `µs CPU` is of the workers a click, `busy` how much of their processors."""
    cpu = statistics.median(run.cpu_us for run in figures[name])
    busy = statistics.median(run.busy for run in figures[name])
    print(
        f"  {label:<38} {rates(figures, name).text(',.0f'):>28}  {ratios(figures, name, peer).text('.3f'):>27}"
        f" {cpu:>7.1f} {busy:>6.0%}"
    )
