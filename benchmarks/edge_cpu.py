"""Where do a click's microseconds of processor time go?

The whole is what the worker's process uses under full load, user and system, divided by its answers. The click core
and the journal are measured alone, in a process of their own on the same core; what is left is the protocol, the event
loop and the sockets, of which bare uvicorn has its own kind.
"""

import asyncio
import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks import click_core, ip_data
from benchmarks.field import Field
from benchmarks.machine import SERVER_CPU
from benchmarks.marks import CORE_US, Findings
from benchmarks.rounds import CAPACITY_COLUMNS, Figures, capacity, capacity_line, heading, shuffled, warm_up
from benchmarks.wrk import Load
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from shared import events
from shared.journal import JournalWriter
from shared.journal.writer import Durability

GROUP = 32
"""Clicks that share a sync while the journal is measured alone; about what 64 connections bring."""
GROUPS = 60
PAYLOAD = b"\x00" * 850
"""As long as the event of a click with referrer, parameters and a redirect."""
DURABILITIES: tuple[Durability, ...] = ("fsync", "os")


def measure(field: Field) -> Findings:
    """Print both tables; gives the mark of the click core."""
    servers, scale, progress = field
    bare, nginx = servers.bare(), servers.nginx()
    edges = {durability: servers.edge(durability, scale.campaigns) for durability in DURABILITIES}
    everyone = (bare, nginx, *edges.values())
    warm_up(everyone)
    runs = {
        server.name: partial(capacity, server, Load(campaigns=server.campaigns), scale.short_seconds)
        for server in everyone
    }
    figures = shuffled(runs, scale.rounds, progress, "processor time")
    heading(
        f"Processor time under full load, 64 connections, {scale.rounds} shuffled rounds of {scale.short_seconds:g} s",
        CAPACITY_COLUMNS,
    )
    for server in everyone:
        capacity_line(server.name, figures, server.name, bare.name)

    task = progress.add_task("click core", total=None)
    # A new interpreter: all those campaigns would stay in this one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        steps = pool.submit(core_steps, scale.campaigns, scale.core_rounds).result()
        journal = pool.submit(journal_us, scale.core_rounds).result()
    progress.remove_task(task)
    _print_parts(scale.campaigns, steps, journal, {name: _cpu(figures, server.name) for name, server in edges.items()})
    print(f"  {'bare uvicorn: all of it':<46} {_cpu(figures, bare.name):>8.1f}")
    return {CORE_US: statistics.median(steps["whole"])}


def _cpu(figures: Figures, name: str) -> float:
    return statistics.median(run.cpu_us for run in figures[name])


def _print_parts(
    campaigns: int, steps: dict[str, list[float]], journal: dict[Durability, float], whole: dict[Durability, float]
) -> None:
    heading(
        f"Where the microseconds of a click go: known agent, {campaigns:,} campaigns, address data and lists loaded",
        f"  {'':<46} {'fsync':>8} {'os':>8}",
    )
    parts = {name: statistics.median(values) for name, values in steps.items() if name != "whole"}
    for name, microseconds in parts.items():
        print(f"    {name:<44} {microseconds:>8.2f} {microseconds:>8.2f}")
    core = statistics.median(steps["whole"])
    between = core - sum(parts.values())
    print(f"    {'between the steps, and the caches they share':<44} {between:>8.2f} {between:>8.2f}")
    print(f"  {'click core':<46} {core:>8.1f} {core:>8.1f}")
    print(
        f"  {f'journal: take, {GROUP} in a group, write and sync':<46} {journal['fsync']:>8.1f} {journal['os']:>8.1f}"
    )
    rest = {name: whole[name] - core - journal[name] for name in DURABILITIES}
    print(f"  {'rest: protocol, event loop, sockets':<46} {rest['fsync']:>8.1f} {rest['os']:>8.1f}")
    print(f"  {'all of it':<46} {whole['fsync']:>8.1f} {whole['os']:>8.1f}")


def core_steps(campaigns: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of each step of the click core and of the `whole`, one figure a round. For a process of its own."""
    os.sched_setaffinity(0, {SERVER_CPU})
    with tempfile.TemporaryDirectory() as folder:
        ip_data.write(Path(folder))
        routing, data, agents = click_core.table(campaigns), NetworkData(Path(folder)), UserAgents()
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as the worker sets it
        return click_core.measure(routing, data, agents, rounds)


def journal_us(rounds: int) -> dict[Durability, float]:
    """Microseconds of processor time a click in the journal, its thread and the kernel's part included."""
    os.sched_setaffinity(0, {SERVER_CPU})
    # Beside the program, because a temporary folder may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        return {durability: asyncio.run(_journal_us(Path(folder), durability, rounds)) for durability in DURABILITIES}


async def _journal_us(folder: Path, durability: Durability, rounds: int) -> float:
    failures: list[BaseException] = []
    writer = JournalWriter.open(folder / durability, durability, on_failure=failures.append)
    found: list[float] = []
    for _ in range(rounds + 1):
        started = time.process_time_ns()
        for _ in range(GROUPS):
            for _ in range(GROUP - 1):
                writer.take(events.CLICK, PAYLOAD, failures_only)
            await writer.append(events.CLICK, PAYLOAD)
        found.append((time.process_time_ns() - started) / (GROUPS * GROUP) / 1000)
    await writer.close()
    if failures:
        raise failures[0]
    return statistics.median(found[1:])


def failures_only(error: Exception | None) -> None:
    """What becomes of the journal's word when nobody is to be answered; an error comes again from `append`."""
