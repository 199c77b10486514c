"""Does a visitor wait longer while the broker is away, slow or without its memory?

One worker of the edge answers at a steady rate on a processor of its own; client, shipper and broker have the other
one. For each fault a window without it and one with it follow each other, and their 99th percentiles are compared; in
the row without a fault nothing happens between the two, so that it shows what the machine does by itself.

The shipper catches up between the pairs, while the edge stands still: no window has a part of it but that of the broker
that forgot, whose records are sent again within.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from typing import Final, NamedTuple

from benchmarks import traffic
from benchmarks.behind_edge import DELAY_SECONDS, BehindEdge, Standing
from benchmarks.field import Field
from benchmarks.marks import BROKER_FAULTS, Findings
from benchmarks.open_loop import Latency
from benchmarks.rounds import BadRun, Spread, heading, shuffled
from benchmarks.servers import Server
from tests.kafka.proxy import Fault as Wire

RATE: Final = 1_250.0
"""Links a second."""
CONNECTIONS: Final = 64
CAMPAIGNS: Final = 1_000
TRIES: Final = 3
LATE_SHARE: Final = 0.25
"""Of the 99th percentile that is measured: what the client's own lateness may be."""
FULL_SECONDS, QUICK_SECONDS = 2.0, 1.0
WARM_UP_SECONDS: Final = 0.4
AGES: Final = (WARM_UP_SECONDS, WARM_UP_SECONDS, 3.0, 3.0, 9.0)
"""So many seconds of clicks a fault has met when its windows begin, one after the other: in the last one the shipper
gives up a batch that was not acknowledged for 10 s."""
FORGETS_SECONDS: Final = 8.0
"""A window long enough to notice that the log is gone, make the topics and send everything again."""


class Seen(NamedTuple):
    """What became of the clicks of a window: how many were journaled; how many the broker acknowledged, up to a second
    after the window; how often the shipper found the log gone before the window's end."""

    journaled: int
    acknowledged: int
    lost: int

    @property
    def share(self) -> float:
        return self.acknowledged / self.journaled


class Fault(NamedTuple):
    """`there` tells by what was seen whether a window had the fault; `at_least`: seconds of its windows."""

    name: str
    begin: Callable[[BehindEdge], None]
    there: Callable[[Seen], bool]
    ages: Sequence[float] = AGES
    at_least: float = 0.0


def _none(behind: BehindEdge) -> None:
    """Nothing happens."""


def healthy(seen: Seen) -> bool:
    """The broker kept up."""
    return seen.share >= 0.6 and not seen.lost


def silent(seen: Seen) -> bool:
    """The broker acknowledged what was on its way when the fault began, at most."""
    return seen.share <= 0.1


def slow(seen: Seen) -> bool:
    return 0 < seen.share <= 0.5


def forgot(seen: Seen) -> bool:
    return seen.lost > 0


NO_FAULT: Final = Fault("no fault", _none, healthy, ages=(WARM_UP_SECONDS,))
FAULTS: Final = (
    Fault("killed (-9)", BehindEdge.kill, silent),
    Fault("frozen (SIGSTOP)", BehindEdge.freeze, silent),
    Fault(f"network delayed, {DELAY_SECONDS:g} s each way", BehindEdge.delay, slow, ages=(WARM_UP_SECONDS,)),
    Fault("network resets", partial(BehindEdge.cut, wire=Wire.REFUSE), silent),
    Fault("network swallows", partial(BehindEdge.cut, wire=Wire.BLACK_HOLE), silent),
    Fault("network swallows answers", partial(BehindEdge.cut, wire=Wire.LOSE_ANSWERS), silent),
    Fault("log wiped, started anew", BehindEdge.wipe, forgot, ages=(WARM_UP_SECONDS,), at_least=FORGETS_SECONDS),
)


class Vacuous(BadRun):
    """The broker was not in the state that the window is about."""


class Window(NamedTuple):
    """`busy`: the share of its processor that the edge's worker used."""

    latency: Latency
    seen: Seen
    busy: float


class Pair(NamedTuple):
    """`tries`: it was taken so often until neither window was vacuous."""

    before: Window
    during: Window
    tries: int = 1

    @property
    def windows(self) -> tuple[Window, Window]:
        return self.before, self.during

    @property
    def ratio(self) -> float:
        return self.during.latency.p99 / self.before.latency.p99

    @property
    def client_bound(self) -> bool:
        """Whether the client was so late itself that the windows say more about it than about the edge."""
        return any(window.latency.late_p99 > LATE_SHARE * window.latency.p99 for window in self.windows)


def measure(field: Field) -> Findings:
    """Print the table; gives the mark of the worst fault."""
    servers, scale, progress = field
    seconds = QUICK_SECONDS if scale.quick else FULL_SECONDS
    server = servers.edge("fsync", CAMPAIGNS)
    assert server.edge is not None
    with server.measured():  # its worker makes its stream when it is asked first
        _ask_one(server)
    with BehindEdge.running(server.edge.data_dir) as behind:
        take = partial(_window, server, behind)
        take(seconds, WARM_UP_SECONDS, behind.caught_up(), healthy, "warm-up")
        runs = {
            fault.name: partial(_pair, behind, take, fault, max(seconds, fault.at_least), _ages(fault, scale.quick))
            for fault in (NO_FAULT, *FAULTS)
        }
        found = shuffled(runs, scale.latency_rounds, progress, "broker faults")
        behind.caught_up()  # through all of it the shipper lost nothing
    return report(found, seconds)


def _ages(fault: Fault, quick: bool) -> Iterator[float]:
    return cycle(fault.ages[:1] if quick else fault.ages)


def _pair(behind: BehindEdge, take: Callable[..., Window], fault: Fault, seconds: float, ages: Iterator[float]) -> Pair:
    age = next(ages)
    for tries in range(1, TRIES):
        with suppress(Vacuous):
            return _try_pair(behind, take, fault, seconds, age)._replace(tries=tries)
    return _try_pair(behind, take, fault, seconds, age)._replace(tries=TRIES)


def _try_pair(behind: BehindEdge, take: Callable[..., Window], fault: Fault, seconds: float, age: float) -> Pair:
    standing = behind.caught_up()
    behind.store()
    before = take(seconds, WARM_UP_SECONDS, standing, healthy, f"before {fault.name!r}")
    standing = behind.caught_up()
    try:
        fault.begin(behind)
        during = take(seconds, age, standing, fault.there, f"during {fault.name!r}")
    finally:
        behind.heal()
    return Pair(before, during)


def _window(
    server: Server,
    behind: BehindEdge,
    seconds: float,
    warm_up: float,
    begun: Standing,
    is_as_said: Callable[[Seen], bool],
    name: str,
) -> Window:
    """One run of the client. Raises Vacuous, or BadRun when a link did not get its redirect."""
    journaled = behind.journaled()
    with server.measured():
        used, started = server.cpu_seconds(), time.monotonic()
        printed = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.open_loop", "--sleeps",
                "--port", str(server.port), "--rate", str(RATE), "--seconds", str(seconds),
                "--warm-up", str(warm_up), "--connections", str(CONNECTIONS), "--campaigns", str(CAMPAIGNS),
            ],
            check=True, stdout=subprocess.PIPE, timeout=warm_up + seconds + 60,
        ).stdout  # fmt: skip
        busy = (server.cpu_seconds() - used) / (time.monotonic() - started)
        at_end = behind.standing()
        _ask_one(server)
    latency = Latency.from_json(printed)
    server.answered += latency.answers
    after = behind.standing_now()
    seen = Seen(behind.journaled() - journaled, after.shipped - begun.shipped, at_end.lost - begun.lost)
    if latency.bad:
        raise BadRun(f"{name}: {latency.bad} of {latency.answers} links without their redirect")
    if not is_as_said(seen):
        raise Vacuous(f"{name}: the broker was in another state: {seen}, {after}")
    return Window(latency, seen, busy)


def _ask_one(server: Server) -> None:
    """Raises BadRun when its answer is not in every part the right one."""
    assert server.edge is not None
    answer = server.edge.get(f"/c/{traffic.SLUG % 1}?sub1=zone")
    locations = answer.headers.get("location", [])
    if answer.status != 302 or not (
        len(locations) == 1
        and locations[0].startswith("https://shop.example/landing?clickid=clk_")
        and "&zone=zone&" in locations[0]
        and locations[0].endswith("&c=1")
    ):
        raise BadRun(f"not the redirect of the campaign: {answer}")


def report(found: Mapping[str, Sequence[Pair]], seconds: float) -> Findings:
    """Print the table; gives the largest ratio of medians, unless the client was late in more than half of the pairs."""
    every = [pair for pairs in found.values() for pair in pairs]
    windows = [window for pair in every for window in pair.windows]
    heading(
        f"Redirects while the broker fails: {RATE:,.0f} links/s over {CONNECTIONS} connections, {len(found[NO_FAULT.name])}"
        f" shuffled pairs each, windows of {seconds:g} s ({FORGETS_SECONDS:g} s for the last row); ms, medians (min … max)",
        f"  {'':<30} {'p50 before':>10} {'during':>7} {'p99 before':>22} {'during':>22} {'during / before':>20}"
        f" {'acknowledged':>13} {'client late p99':>16}",
    )
    ratios = {fault.name: _line(fault.name, found[fault.name]) for fault in (NO_FAULT, *FAULTS)}
    answers = [window.latency.answers for window in windows]
    busy = Spread.of([window.busy for window in windows])
    print(
        "  during / before: of the medians of p99 (min … max of the pairs). acknowledged: by the broker, of the clicks of"
        " the windows with the fault, up to\n  a second later; records sent again count again\n"
        f"  {sum(answers):,} answers, {min(answers):,} and more a window; each a 302, none refused, failed or missing;"
        f" the edge used {busy.text('.0%')} of its processor"
    )
    again = sum(pair.tries - 1 for pair in every)
    if again:
        print(f"  {again} pairs were taken again, because the broker was not in the state that their windows are about")
    bound = sum(pair.client_bound for pair in every)
    if bound:
        print(
            f"  {bound} of {len(every)} pairs CLIENT-BOUND: late itself by more than {LATE_SHARE:.0%} of what it measured"
        )
    return {BROKER_FAULTS: max(ratios[fault.name] for fault in FAULTS)} if bound <= len(every) / 2 else {}


def _line(name: str, pairs: Sequence[Pair]) -> float:
    """Print it; the ratio of the medians of p99."""
    before, during = [pair.before.latency for pair in pairs], [pair.during.latency for pair in pairs]
    p99_before, p99_during = Spread.of([one.p99 for one in before]), Spread.of([one.p99 for one in during])
    ratio = Spread.of([pair.ratio for pair in pairs])._replace(median=p99_during.median / p99_before.median)
    acknowledged = statistics.median(pair.during.seen.share for pair in pairs)
    late = statistics.median(one.late_p99 for one in (*before, *during))
    lost = sum(pair.during.seen.lost for pair in pairs)
    print(
        f"  {name:<30} {statistics.median(one.p50 for one in before):>10.2f}"
        f" {statistics.median(one.p50 for one in during):>7.2f} {p99_before.text('.2f'):>22} {p99_during.text('.2f'):>22}"
        f" {ratio.text('.2f'):>20} {acknowledged:>13.0%} {late:>16.3f}"
        + (f"  log found gone {lost} times" if lost else "")
    )
    return ratio.median
