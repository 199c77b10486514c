"""What does a second worker add, when client and servers have two cores together?

One worker stands on a core of its own beside the client; two workers have both cores and share them with the client,
so the second row of each server is a bound from below of what two whole cores would give.
"""

import statistics
from functools import partial

from benchmarks.field import Field
from benchmarks.machine import BOTH
from benchmarks.marks import Findings
from benchmarks.rounds import CAPACITY_COLUMNS, capacity, capacity_line, heading, shuffled, warm_up
from benchmarks.wrk import Load


def measure(field: Field) -> Findings:
    """Print the table; there is no mark for it."""
    servers, scale, progress = field
    bare, bare_two, nginx = servers.bare(), servers.bare(workers=2), servers.nginx()
    edge, edge_two = servers.edge("fsync", scale.campaigns), servers.edge("fsync", scale.campaigns, workers=2)
    cores = tuple(sorted(BOTH))
    alone = Load(campaigns=scale.campaigns)
    shared = Load(campaigns=scale.campaigns, cpus=cores)
    warm_up((bare, bare_two, nginx, edge, edge_two))
    runs = {
        **{server.name: partial(capacity, server, alone, scale.short_seconds) for server in (bare, nginx, edge)},
        **{
            server.name: partial(capacity, server, shared, scale.short_seconds, cores, len(cores))
            for server in (bare_two, edge_two)
        },
    }
    figures = shuffled(runs, scale.rounds, progress, "workers")
    heading(
        f"One and two workers, 64 connections, {scale.rounds} shuffled rounds of {scale.short_seconds:g} s; two workers have"
        f" cores {' and '.join(map(str, cores))}, which the client shares with them",
        CAPACITY_COLUMNS,
    )
    for server, peer in ((bare, bare), (nginx, bare), (edge, bare), (bare_two, bare_two), (edge_two, bare_two)):
        capacity_line(server.name, figures, server.name, peer.name)
    for one, two in ((bare, bare_two), (edge, edge_two)):
        gains = [second.rate / first.rate for first, second in zip(figures[one.name], figures[two.name], strict=True)]
        print(f"  {two.name} against one: {statistics.median(gains):.2f} ({min(gains):.2f} … {max(gains):.2f})")
    return {}
