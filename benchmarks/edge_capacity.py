"""How much of bare uvicorn's speed is left when the click is classified, journaled and on disk before the redirect?

One core for the server, one for wrk. Both durabilities, the full table loaded, over 64 and 256 keep-alive
connections and with a new connection for every click.
"""

from dataclasses import replace
from functools import partial

from benchmarks.field import Field
from benchmarks.marks import RATIO_FSYNC, RATIO_FSYNC_256, RATIO_OS, Findings
from benchmarks.rounds import CAPACITY_COLUMNS, capacity, capacity_line, heading, ratios, shuffled, warm_up
from benchmarks.wrk import Load

LOADS = {
    "64 keep-alive connections": Load(connections=64),
    "256 keep-alive connections": Load(connections=256),
    "64 at a time, one connection a click": Load(connections=64, keep_alive=False),
}
KEPT_64, KEPT_256, _ = LOADS


def measure(field: Field) -> Findings:
    """Print a table for each load; gives the marks of the first two."""
    servers, scale, progress = field
    bare, nginx = servers.bare(), servers.nginx()
    fsync, kernel = servers.edge("fsync", scale.campaigns), servers.edge("os", scale.campaigns)
    everyone = (bare, nginx, fsync, kernel)
    warm_up(everyone)
    runs = {
        f"{server.name}, {name}": partial(capacity, server, replace(load, campaigns=server.campaigns), scale.seconds)
        for name, load in LOADS.items()
        for server in everyone
    }
    figures = shuffled(runs, scale.rounds, progress, "capacity")
    heading(f"Capacity of one core, {scale.rounds} shuffled rounds of {scale.seconds:g} s", CAPACITY_COLUMNS)
    for name in LOADS:
        print(f"  {name}")
        for server in everyone:
            capacity_line(f"  {server.name}", figures, f"{server.name}, {name}", f"{bare.name}, {name}")

    def of_bare(server_name: str, load_name: str) -> float:
        return ratios(figures, f"{server_name}, {load_name}", f"{bare.name}, {load_name}").median

    return {
        RATIO_FSYNC: of_bare(fsync.name, KEPT_64),
        RATIO_FSYNC_256: of_bare(fsync.name, KEPT_256),
        RATIO_OS: of_bare(kernel.name, KEPT_64),
    }
