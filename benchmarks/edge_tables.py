"""What does a large routing table cost: answers a second and memory of a worker with 100, 10,000 and 100,000 campaigns?

Clicks ask for all loaded campaigns evenly, which is harder on processor caches than life is.
"""

from functools import partial

from benchmarks.field import Field
from benchmarks.machine import memory
from benchmarks.marks import RATIO_TABLE, Findings
from benchmarks.rounds import CAPACITY_COLUMNS, Spread, capacity, capacity_line, heading, ratios, shuffled, warm_up
from benchmarks.wrk import Load

SMALLEST, MIDDLE = 100, 10_000


def measure(field: Field) -> Findings:
    """Print the tables; gives the mark of the largest table against the smallest."""
    servers, scale, progress = field
    bare, nginx = servers.bare(), servers.nginx()
    largest = scale.campaigns
    edges = {size: servers.edge("fsync", size) for size in (SMALLEST, MIDDLE, largest)}
    warm_up((bare, nginx, *edges.values()))
    runs = {
        **{server.name: partial(capacity, server, Load(), scale.seconds) for server in (bare, nginx)},
        **{
            f"{size:,}": partial(capacity, server, Load(campaigns=size), scale.seconds)
            for size, server in edges.items()
        },
    }
    figures = shuffled(runs, scale.rounds, progress, "table sizes")
    heading(
        f"Campaigns loaded, fsync, 64 connections, {scale.rounds} shuffled rounds of {scale.seconds:g} s",
        CAPACITY_COLUMNS,
    )
    for server in (bare, nginx):
        capacity_line(server.name, figures, server.name, bare.name)
    for size in edges:
        capacity_line(f"edge, {size:,} campaigns", figures, f"{size:,}", bare.name)
    smallest = f"{SMALLEST:,}"
    for size in (MIDDLE, largest):
        print(f"  {size:,} campaigns against {smallest}: {ratios(figures, f'{size:,}', smallest).text('.3f')}")

    heading("Memory of one worker after these runs, MiB", f"  {'':<38} {'RSS':>8} {'PSS':>8}")
    for size, server in edges.items():
        _memory_line(f"edge, {size:,} campaigns", server.workers)
    two = servers.edge("fsync", largest, workers=2)
    _memory_line(f"edge, {largest:,} campaigns, each of 2 workers", two.workers)
    _memory_line(bare.name, bare.workers)
    _memory_line(nginx.name, nginx.workers)
    return {RATIO_TABLE: ratios(figures, f"{largest:,}", smallest).median}


def _memory_line(label: str, workers: list[int]) -> None:
    held = [memory(pid) for pid in workers]
    resident, proportional = (Spread.of([one[place] / (1 << 20) for one in held]).median for place in (0, 1))
    print(f"  {label:<38} {resident:>8.0f} {proportional:>8.0f}")
