"""How long does a visitor wait, at half and at four fifths of what a server can do?

Each server's own maximum is found by wrk in the same round, then the open-loop client asks at those shares of it.
Bare uvicorn is also asked at the edge's own absolute rate: at half of its own maximum it carries twice the load.
"""

import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product

from benchmarks.field import Field
from benchmarks.machine import CLIENT_CPU
from benchmarks.marks import (
    P50_SAME_RATE,
    P50_SAME_SHARE,
    P99_SAME_RATE,
    P99_SAME_SHARE,
    Findings,
)
from benchmarks.open_loop import LATE_SECONDS, Latency
from benchmarks.rounds import BadRun, Spread, capacity, heading, warm_up
from benchmarks.servers import Server
from benchmarks.wrk import Load

HALF, MOST = 0.5, 0.8
CONNECTIONS = 256
WARM_UP_SECONDS = 0.7
Key = tuple[str, str]
"""Server, and the rate it was asked at."""


def ask(server: Server, rate: float, seconds: float) -> Latency:
    """One run of the open-loop client, as a process of its own. Raises BadRun."""
    with server.measured():
        printed = subprocess.run(
            [
                "taskset", "-c", str(CLIENT_CPU), sys.executable, "-m", "benchmarks.open_loop",
                "--port", str(server.port), "--rate", str(rate), "--seconds", str(seconds),
                "--warm-up", str(WARM_UP_SECONDS), "--connections", str(CONNECTIONS),
                "--campaigns", str(server.campaigns),
            ],
            check=True, stdout=subprocess.PIPE, timeout=seconds + 60,
        ).stdout  # fmt: skip
    latency = Latency.from_json(printed)
    server.answered += latency.answers
    if latency.bad:
        raise BadRun(f"{server.name} at {rate:,.0f}/s: {latency.bad} requests without their redirect")
    return latency


def measure(field: Field) -> Findings:
    """Print the tables; gives the marks of p50 and p99 over bare uvicorn."""
    servers, scale, progress = field
    bare, nginx = servers.bare(), servers.nginx()
    edges = (servers.edge("fsync", scale.campaigns), servers.edge("os", scale.campaigns))
    everyone = (bare, nginx, *edges)
    warm_up(everyone)
    found: dict[Key, list[Latency]] = {}
    jobs_a_round = len(everyone) * 3 + len(edges)
    task = progress.add_task("latency", total=scale.latency_rounds * jobs_a_round)
    for _ in range(scale.latency_rounds):
        maximum: dict[str, float] = {}
        for server in random.sample(everyone, len(everyone)):
            load = Load(connections=CONNECTIONS, campaigns=server.campaigns)
            maximum[server.name] = capacity(server, load, scale.short_seconds).rate
            progress.advance(task)
        jobs: dict[Key, Callable[[], Latency]] = {}
        for server, share in product(everyone, (HALF, MOST)):
            jobs[server.name, _share(share)] = partial(ask, server, maximum[server.name] * share, scale.latency_seconds)
        for edge in edges:
            jobs[bare.name, _rate_of(edge)] = partial(ask, bare, maximum[edge.name] * HALF, scale.latency_seconds)
        for key in random.sample(list(jobs), len(jobs)):
            found.setdefault(key, []).append(jobs[key]())
            progress.advance(task)
    progress.remove_task(task)
    _print_latencies(found, everyone, edges, scale.latency_rounds, scale.latency_seconds)
    return _print_differences(found, bare, edges)


def _share(share: float) -> str:
    return f"{share:.0%} of its maximum"


def _rate_of(edge: Server) -> str:
    return f"half of the maximum of {edge.name}"


def _print_latencies(
    found: dict[Key, list[Latency]],
    everyone: tuple[Server, ...],
    edges: tuple[Server, ...],
    rounds: int,
    seconds: float,
) -> None:
    heading(
        f"Latency in ms from the moment a request was due, {CONNECTIONS} connections, {rounds} rounds of {seconds:g} s;"
        f" medians (min … max)",
        f"  {'':<50} {'asked/s':>9} {'p50':>20} {'p99':>22} {'p99.9':>22} {'client late p99':>16}",
    )
    keys = [(server.name, _share(share)) for share, server in product((HALF, MOST), everyone)]
    keys += [(everyone[0].name, _rate_of(edge)) for edge in edges]
    for key in keys:
        runs = found[key]
        late = statistics.median(run.late_p99 for run in runs)
        bound = sum(run.client_bound for run in runs)
        queued = sum(run.queued for run in runs)
        remarks = [f"{bound} of {len(runs)} CLIENT-BOUND"] if bound else []
        remarks += [f"{queued} waited for a connection"] if queued else []
        print(
            f"  {', '.join(key):<50} {statistics.median(run.rate for run in runs):>9,.0f}"
            f" {Spread.of([run.p50 for run in runs]).text('.2f'):>20}"
            f" {Spread.of([run.p99 for run in runs]).text('.2f'):>22}"
            f" {Spread.of([run.p999 for run in runs]).text('.2f'):>22} {late:>16.3f}  {'; '.join(remarks)}"
        )
    print(f"  CLIENT-BOUND: the client itself was more than {LATE_SECONDS * 1000:g} ms late with 1 request in 100")


def _print_differences(found: dict[Key, list[Latency]], bare: Server, edges: tuple[Server, ...]) -> Findings:
    heading("Over bare uvicorn in the same round, ms", f"  {'':<50} {'p50':>22} {'p99':>24}")
    findings: Findings = {}
    for edge in edges:
        for label, peer, marks in (
            ("each at half of its own maximum", (bare.name, _share(HALF)), (P50_SAME_SHARE, P99_SAME_SHARE)),
            ("both at half of the edge's maximum", (bare.name, _rate_of(edge)), (P50_SAME_RATE, P99_SAME_RATE)),
        ):
            pairs = list(zip(found[edge.name, _share(HALF)], found[peer], strict=True))
            p50 = Spread.of([ours.p50 - theirs.p50 for ours, theirs in pairs])
            p99 = Spread.of([ours.p99 - theirs.p99 for ours, theirs in pairs])
            print(f"  {f'{edge.name}, {label}':<50} {p50.text('.2f'):>22} {p99.text('.2f'):>24}")
            bound = sum(ours.client_bound or theirs.client_bound for ours, theirs in pairs)
            if bound:
                print(f"    {bound} of {len(pairs)} rounds are the client's, not the servers'")
            if edge is edges[0] and bound <= len(pairs) / 2:
                findings |= dict(zip(marks, (p50.median, p99.median), strict=True))
    return findings
