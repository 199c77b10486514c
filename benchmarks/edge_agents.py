"""What does a user agent cost that was never seen before, and how much of it does remembering save?

An agent is judged once and remembered; 40 agents that come again, 3 in 100 new, and a new one with every click, which
is what a flood of made-up agents is.
"""

from functools import partial

from benchmarks.field import Field
from benchmarks.marks import RATIO_NEW_AGENTS, Findings
from benchmarks.rounds import CAPACITY_COLUMNS, capacity, capacity_line, heading, ratios, shuffled, warm_up
from benchmarks.wrk import Load

NEW = {"every agent known": 0.0, "97 of 100 known": 0.03, "every agent new": 1.0}
*_, ALL_NEW = NEW


def measure(field: Field) -> Findings:
    """Print the table; gives the mark of a new agent with every click."""
    servers, scale, progress = field
    bare, nginx, edge = servers.bare(), servers.nginx(), servers.edge("fsync", scale.campaigns)
    warm_up((bare, nginx, edge))
    loads = {name: Load(campaigns=scale.campaigns, new_agents=share) for name, share in NEW.items()}
    peers = {server.name: server for server in (bare, nginx)}
    runs = {
        **{name: partial(capacity, server, loads[ALL_NEW], scale.seconds) for name, server in peers.items()},
        **{name: partial(capacity, edge, load, scale.seconds) for name, load in loads.items()},
    }
    figures = shuffled(runs, scale.rounds, progress, "user agents")
    heading(
        f"User agents, fsync, 64 connections, {scale.rounds} shuffled rounds of {scale.seconds:g} s", CAPACITY_COLUMNS
    )
    for name in peers:
        capacity_line(name, figures, name, bare.name)
    for name in NEW:
        capacity_line(f"edge, {name}", figures, name, bare.name)
    return {RATIO_NEW_AGENTS: ratios(figures, ALL_NEW, bare.name).median}
