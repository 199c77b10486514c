"""One run from the first click to the verdict."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from management.db.pool import UNREACHABLE
from tests.faults.chain import stored
from tests.faults.chain.driver import REQUEST_SECONDS, Plan
from tests.faults.chain.facts import Stored
from tests.faults.chain.faults import faults_of
from tests.faults.chain.health import NotHealthy
from tests.faults.chain.judge import judge
from tests.faults.chain.nemesis import Scene, Survived, schedule, strike
from tests.faults.chain.oracle import Books, Ledger, Page
from tests.faults.chain.parts import Mode
from tests.faults.chain.proof import Witness
from tests.faults.chain.report import print_report
from tests.faults.chain.system import System

DRAIN_SECONDS: Final = 180.0
_QUIET_SECONDS: Final = 6.0
"""What comes again on evidence comes within 5 s of it."""
_PAUSE: Final = (0.3, 1.0)
_NO_END: Final = 1 << 40


@dataclass(frozen=True)
class Options:
    """`only`: names of faults, empty: all of the mode; `faults` None: each once; `clicks`: answered ones at least;
    `set`: settings of all parts, NAME=VALUE."""

    mode: Mode
    faults: int | None
    only: list[str]
    clicks: int
    rate: float
    connections: int
    seed: int
    set: list[str]
    keep: bool


async def run(system: System, options: Options, console: Console) -> bool:
    """Whether everything was right and the run proved it."""
    console.print(f"mode {options.mode}, seed {options.seed}, {options.rate:g} clicks a second")
    page = Page(system.folder / "page", create=True)
    ledgers = [system.folder / "asked", system.folder / "planted"]
    chance = random.Random(options.seed)
    scene = Scene(system, page, Ledger(ledgers[1]), chance, options.seed)
    survived: list[Survived] = []
    trouble = ""
    witness = Witness(system)
    watching = asyncio.create_task(witness.watch())
    try:
        await system.start()
        try:
            plan = Plan(
                system.edge_port, system.uuids, str(ledgers[0]), str(page.path), options.seed, options.rate,
                options.connections, _NO_END,
            )  # fmt: skip
            async with driving(plan):
                await haunt(scene, options, survived, console)
        except NotHealthy as error:
            trouble = str(error)
        books = Books.read(ledgers)
        found = await drained(system, books)
        proof = await witness.proof(scene.in_flight)
    except BaseException:
        console.print(system.output(), markup=False)
        raise
    finally:
        watching.cancel()
        await system.stop()
    verdict = judge(books, found, options.seed)
    right = print_report(console, verdict, books, survived, proof, system, trouble)
    if not right:
        console.print(system.output(), markup=False)
    return right


@asynccontextmanager
async def driving(plan: Plan) -> AsyncIterator[None]:
    """The load runs meanwhile, in its own process, and finishes what it has begun at the end."""
    process = await asyncio.create_subprocess_exec(*plan.argv())
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(2 * REQUEST_SECONDS):
            status = await process.wait()
    assert status == 0, f"the driver ended with status {status}"


async def haunt(scene: Scene, options: Options, survived: list[Survived], console: Console) -> None:
    """All faults one after another, and load until there are clicks enough."""
    faults = [fault for fault in faults_of(options.mode) if not options.only or fault.name in options.only]
    count = len(faults) if options.faults is None else options.faults
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")

        def tell(what: str) -> None:
            _, answered, in_flight, postbacks, broken = scene.page.counts()
            bar.update(
                task,
                description=f"{len(survived)}/{count} faults, {answered} clicks and {postbacks} postbacks answered,"
                f" {broken} broken, {in_flight} in flight, {what}",
            )

        for fault in schedule(faults, count, scene.chance):
            await asyncio.sleep(scene.chance.uniform(*_PAUSE))
            struck = asyncio.create_task(strike(scene, fault, tell))
            try:
                survived.append(await struck)
            finally:
                struck.cancel()
            one = survived[-1]
            console.print(
                f"{len(survived):4} {one.name}: {one.in_flight} in flight, healthy after {one.healthy_after:.1f} s"
                f" ({scene.page.answered} clicks answered)"
            )
        while scene.page.answered < options.clicks:
            tell("no fault")
            await asyncio.sleep(0.5)


async def drained(system: System, books: Books) -> Stored:
    """What Postgres holds once all that was answered is there and nothing moves any more, or at the deadline: then
    the judge says what is missing."""
    deadline = time.monotonic() + DRAIN_SECONDS
    last, since = None, time.monotonic()
    while True:
        try:
            now = await stored.counts(system)
        except (*UNREACHABLE, asyncpg.PostgresError):
            now = None
        if now is None or now != last:
            last, since = now, time.monotonic()
        quiet = now is not None and time.monotonic() - since > _QUIET_SECONDS
        complete = now is not None and now.clicks >= len(books.answered) and now.not_folded == 0
        if (quiet and complete) or time.monotonic() > deadline:
            async with system.database(seconds=DRAIN_SECONDS) as connection:
                return await stored.read(connection, system.campaigns)
        await asyncio.sleep(0.5)
