"""What do answers cost when Postgres holds 1, 3 and 10 million clicks of 30 days?

The whole product (`milepost up`, embedded servers); its Postgres is filled inside the server with the clicks, labels
and roll-ups that ingest and fold would have left (benchmarks.filling), then its API is called over HTTP by its owner.
The same 200 campaigns have all clicks, so that at 10 million almost every quarter hour of each has rows.
"""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.field import Field
from benchmarks.filling import FOLDED, Clicks, Filler
from benchmarks.machine import on_both
from benchmarks.marks import GROWN_COUNTRIES, GROWN_DROP, GROWN_LIST, GROWN_STATS, Findings
from benchmarks.rounds import BadRun, Spread, heading
from management.api.routes import ROUTES
from tests.stack import Api, Stack, api, running

FULL_SIZES, QUICK_SIZES = (1_000_000, 3_000_000, 10_000_000), (20_000, 50_000, 100_000)
DAYS, CAMPAIGNS, CALLS = 30, 200, 30
DAY_SECONDS: Final = 86_400
BYTES_A_CLICK: Final = 3_000
"""Room that must be free: rows, indexes, and the write-ahead log of the filling."""
COUNTRIES = "/api/v2/analytics/countries"
DISK = "SELECT pg_database_size(current_database())"
# Retention has no code of its own yet, so this is what an operator would type, sent as one statement.
DROP = """
ALTER TABLE clicks DETACH PARTITION {clicks}; ALTER TABLE click_labels DETACH PARTITION {labels};
DROP TABLE {clicks}, {labels};
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the API; `query` is made anew for each call. `mark` where there is one."""

    name: str
    path: Callable[[int], str]
    query: Mapping[str, Callable[[int], str]]
    mark: str | None


def asked(first: str, last: str) -> list[Asked]:
    """Called with a campaign's number; the days are inclusive."""
    days: dict[str, Callable[[int], str]] = {"from": lambda _: first, "to": lambda _: last}
    found = [
        Asked("campaign's figures, 30 days", lambda number: f"/api/v1/campaigns/{number}/stats", days, GROWN_STATS),
        Asked("account's figures, 30 days", lambda _: "/api/v1/stats", days, None),
        Asked("click list, first page", lambda _: "/api/v1/clicks", {}, GROWN_LIST),
        Asked("click list of a campaign", lambda _: "/api/v1/clicks", {"campaign_id": str}, None),
        Asked("click list of a country", lambda _: "/api/v1/clicks", {"country": lambda _: "DE"}, None),
    ]
    if any(route.path == COUNTRIES for route in ROUTES):
        found.append(Asked("countries, 30 days", lambda _: COUNTRIES, days, GROWN_COUNTRIES))
    return found


def measure(field: Field) -> Findings:
    """Print the table; gives the marks of the largest size."""
    sizes = QUICK_SIZES if field.scale.quick else FULL_SIZES
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        free, wanted = shutil.disk_usage(folder).free, sizes[-1] * BYTES_A_CLICK
        if free < wanted:
            raise BadRun(f"{wanted >> 30} GiB must be free for {sizes[-1]:,} clicks, {free >> 30} are")
        with on_both(), running(Path(folder) / "data") as stack:
            return asyncio.run(_measure(stack, sizes, field))


async def _measure(stack: Stack, sizes: tuple[int, ...], field: Field) -> Findings:
    async with AsyncExitStack() as exits:
        client = await exits.enter_async_context(api(stack))
        owner = await exits.enter_async_context(stack.database())
        grown = await Grown.open(stack, owner)
        exits.push_async_callback(grown.close)
        questions = asked(grown.first_day.date().isoformat(), grown.last_day.date().isoformat())
        took: list[dict[str, Spread]] = []
        heading(f"Clicks of {DAYS} days and {CAMPAIGNS} campaigns, medians (min … max) of {CALLS} calls, ms")
        for size in sizes:
            await grown.to(size, field)
            found = await _ask(client, questions, grown.campaign)
            found["one day dropped"] = Spread.of([await grown.drop_oldest()])
            took.append(found)
            _show(size, found, await owner.fetchval(DISK), grown.seconds)
        for name in took[0]:
            print(
                f"  from {sizes[0]:,} to {sizes[-1]:,} clicks × {took[-1][name].median / took[0][name].median:.2f}  {name}"
            )
        if not any(question.mark == GROWN_COUNTRIES for question in questions):
            print(f"  {COUNTRIES} is not there yet: its mark stays open")
    marks = {question.mark: took[-1][question.name].median for question in questions if question.mark is not None}
    return marks | {GROWN_DROP: took[-1]["one day dropped"].median / 1000}


def _show(size: int, found: Mapping[str, Spread], disk: int, seconds: float) -> None:
    print(f"  {size:,} clicks, {disk / (1 << 30):.2f} GiB on disk, filled to here in {seconds:.0f} s")
    for name, spread in found.items():
        print(f"    {name:<30} {spread.text('.1f'):>28}")


async def _ask(client: Api, questions: list[Asked], campaign: int) -> dict[str, Spread]:
    """Milliseconds of the calls, in an order of their own each round; one round goes before, not counted."""
    found: dict[str, list[float]] = {question.name: [] for question in questions}
    for number in range(CALLS + 1):
        for question in random.sample(questions, len(questions)):
            of = campaign + random.randrange(CAMPAIGNS)
            query = {name: value(of) for name, value in question.query.items()}
            started = time.perf_counter()
            status, body = await client.call("GET", question.path(of), **query)
            took = time.perf_counter() - started
            if status != 200 or not body["data"]:
                raise BadRun(f"{question.name}: {status} {str(body)[:200]}")
            if number:
                found[question.name].append(took * 1000)
    return {name: Spread.of(values) for name, values in found.items()}


@dataclass(slots=True)
class Grown:
    """The filled database. The days asked for are the 30 before today; one day more, the oldest, is there to be
    dropped at each size, and filled anew for the next."""

    owner: asyncpg.Connection
    fillers: list[Filler]
    connections: list[asyncpg.Connection]
    first_day: datetime
    account: int
    campaign: int
    numbered: int = 0
    size: int = 0
    seconds: float = 0

    @classmethod
    async def open(cls, stack: Stack, owner: asyncpg.Connection) -> "Grown":
        connections = [await asyncpg.connect(stack.owner_url()) for _ in range(2)]
        fillers = [await Filler.open(connection) for connection in connections]
        account = await owner.fetchval("SELECT min(id) FROM accounts")
        campaign = await fillers[0].campaigns(account, CAMPAIGNS)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(owner, fillers, connections, today - timedelta(days=DAYS), account, campaign)

    @property
    def last_day(self) -> datetime:
        return self.first_day + timedelta(days=DAYS - 1)

    @property
    def oldest(self) -> datetime:
        return self.first_day - timedelta(days=1)

    async def close(self) -> None:
        for connection in self.connections:
            connection.terminate()

    async def to(self, size: int, field: Field) -> None:
        """Fill up to `size` clicks in 30 days, and the oldest day to as many as each of these has."""
        started = time.monotonic()
        runs = [self._run(self.oldest, size)]
        runs += [self._run(self.first_day + timedelta(days=day), size - self.size) for day in range(DAYS)]
        for run in runs:
            await self.fillers[0].day(run.since)
        chunks = [(run, first, last) for run in runs for first, last in run.chunks()]
        task = field.progress.add_task(f"fill to {size:,} clicks", total=len(chunks))
        waiting = iter(chunks)

        async def fill(filler: Filler) -> None:
            for run, first, last in waiting:
                await filler.fill(run, FOLDED, first, last)
                field.progress.advance(task)

        await asyncio.gather(*map(fill, self.fillers))
        # As autovacuum leaves tables that have come to rest.
        await self.owner.execute("VACUUM (ANALYZE) clicks, click_labels, r15, account_sums", timeout=900)
        await self.owner.execute("CHECKPOINT", timeout=300)
        field.progress.remove_task(task)
        self.size, self.seconds = size, self.seconds + time.monotonic() - started

    def _run(self, day: datetime, clicks: int) -> Clicks:
        count = clicks // DAYS // 4 * 4
        run = Clicks(day, DAY_SECONDS, self.numbered, count, self.account, self.campaign, CAMPAIGNS)
        self.numbered += count
        return run

    async def drop_oldest(self) -> float:
        """Milliseconds; its rows leave the roll-ups too, uncounted in them, so that the next size fills it anew."""
        day = self.oldest.strftime("%Y%m%d")
        started = time.perf_counter()
        await self.owner.execute(DROP.format(clicks=f"clicks_{day}", labels=f"click_labels_{day}"))
        took = time.perf_counter() - started
        for table in ("r15", "account_sums"):
            await self.owner.execute(f"DELETE FROM {table} WHERE bucket < $1", self.first_day)
        return took * 1000
