"""How many deltas a second does fold take over, with 200 campaigns and with 100,000 that are hit evenly?

The real process `milepost fold` stands still (SIGSTOP) while Postgres is filled with facts and their deltas, then it is
released and timed until no delta is left. The peer does the same in one plain statement for each 5,000 deltas and
knows no visitors: every click is unique.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg

from benchmarks import speed
from benchmarks.database import Connection, database, emptied
from benchmarks.field import Field
from benchmarks.filling import WAITING, Clicks, Filler
from benchmarks.machine import on_both
from benchmarks.marks import FOLD_FEW, FOLD_MANY, Findings
from benchmarks.parts import running_part
from benchmarks.rounds import BadRun, Spread, heading, shuffled
from benchmarks.speed import Speed, Stopwatch
from management.db.pool import INGEST_ROLE, connect, role_url
from management.fold.batch import CLICKS
from shared.ids import KeyRing
from tests.builders import store_account

FEW, MANY = 200, 100_000
FULL_DELTAS, QUICK_DELTAS = 300_000, 20_000
SECONDS = 900
"""The clicks are of one quarter of an hour, so that a campaign's clicks meet in its row of the roll-ups."""
BEGINS = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONGEST_SECONDS = 120
ANY = "SELECT (SELECT id FROM click_deltas ORDER BY id LIMIT 1) IS NOT NULL"
PLAIN = f"""
WITH gone AS (
    DELETE FROM click_deltas WHERE id IN (SELECT id FROM click_deltas ORDER BY id LIMIT {CLICKS}) RETURNING *
), stored AS (
    INSERT INTO click_labels SELECT account_id, campaign_id, visitor_key, ts, click_id, visitor_key_prev, class, fraud,
                                    outcome, flags, true FROM gone
), counted AS (
    INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, clicks, unique_clicks, click_cost)
    SELECT account_id, campaign_id, date_bin('15 minutes', ts, 'epoch'), 0, class, fraud, outcome,
           count(*), count(*), sum(cost)
    FROM gone GROUP BY 1, 2, 3, class, fraud, outcome
    ON CONFLICT (account_id, campaign_id, bucket, basis, class, fraud, outcome) DO UPDATE
    SET clicks = r15.clicks + excluded.clicks, unique_clicks = r15.unique_clicks + excluded.unique_clicks,
        click_cost = r15.click_cost + excluded.click_cost
)
SELECT count(*) FROM gone
"""


def measure(field: Field) -> Findings:
    """Print the table; gives the marks of both."""
    deltas, rounds = QUICK_DELTAS if field.scale.quick else FULL_DELTAS, field.scale.behind_rounds
    ring = KeyRing.generate()
    with ExitStack() as stack:
        stack.enter_context(on_both())
        url = stack.enter_context(database(ring))
        runner = stack.enter_context(asyncio.Runner())
        bench = runner.run(Bench.open(url, ring, deltas))
        stack.callback(lambda: runner.run(bench.close()))
        pid = stack.enter_context(folding(url, ring))
        runner.run(bench.rest(pid))
        runs = {
            _name(who, campaigns): partial(_run, runner, bench, campaigns, pid if who == "fold" else None)
            for who in ("fold", "plain")
            for campaigns in (FEW, MANY)
        }
        figures = shuffled(runs, rounds, field.progress, "fold")
    heading(f"Fold, {deltas:,} deltas of a quarter of an hour, {rounds} shuffled rounds", speed.COLUMNS)
    for campaigns in (FEW, MANY):
        ours, theirs = figures[_name("fold", campaigns)], figures[_name("plain", campaigns)]
        print(speed.line(_name("fold", campaigns), ours))
        print(speed.line(_name("plain", campaigns), theirs))
        print(f"  {'of plain':<30} {speed.ratio(ours, theirs).text('.3f'):>28}")
    return {
        mark: Spread.of([one.rate for one in figures[_name("fold", campaigns)]]).median
        for mark, campaigns in ((FOLD_FEW, FEW), (FOLD_MANY, MANY))
    }


def _name(who: str, campaigns: int) -> str:
    return f"{who}, {campaigns:,} campaigns"


@contextmanager
def folding(url: str, ring: KeyRing) -> Iterator[int]:
    """A running `milepost fold`, until the block ends; its pid."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_part("management.cli fold", Path(folder), DATABASE_URL=url, SECRET_KEYS=ring.to_text()) as process,
    ):
        try:
            yield process.pid
        finally:
            os.kill(process.pid, signal.SIGCONT)


@dataclass(slots=True)
class Bench:
    """The database of one run after the other."""

    deltas: int
    owner: Connection
    peer: Connection
    filler: Filler
    account: int
    campaign: int

    @classmethod
    async def open(cls, url: str, ring: KeyRing, deltas: int) -> "Bench":
        owner = await asyncpg.connect(url)
        peer = await connect(role_url(url, INGEST_ROLE, ring), application="bench")
        filler, account = await Filler.open(owner), await store_account(owner)
        campaign = await filler.campaigns(account, MANY)
        await filler.day(BEGINS)
        return cls(deltas, owner, peer, filler, account, campaign)

    async def close(self) -> None:
        for connection in (self.owner, self.peer):
            connection.terminate()

    async def rest(self, pid: int) -> None:
        """Until the process works, and then no further."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while await self._backend() is None:
            if time.monotonic() > deadline:
                raise BadRun("fold does not connect")
            await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)

    async def fill(self, campaigns: int) -> None:
        await emptied(self.owner)
        clicks = Clicks(BEGINS, SECONDS, 0, self.deltas, self.account, self.campaign, campaigns)
        for first, last in clicks.chunks():
            await self.filler.fill(clicks, WAITING, first, last)
        await self.owner.execute("ANALYZE click_deltas")
        await self.owner.execute("CHECKPOINT")

    async def fold(self, pid: int) -> Speed:
        backend = await self._backend()
        assert backend is not None
        watch, deadline = Stopwatch([pid], [backend]), time.monotonic() + LONGEST_SECONDS
        os.kill(pid, signal.SIGCONT)
        while await self.owner.fetchval(ANY):
            if time.monotonic() > deadline:
                raise BadRun("fold does not come to its end")
            await asyncio.sleep(0.05)
        taken = watch.speed(self.deltas)
        os.kill(pid, signal.SIGSTOP)
        return taken

    async def plain(self) -> Speed:
        watch = Stopwatch([os.getpid()], [self.peer.get_server_pid()])
        while await self.peer.fetchval(PLAIN):
            pass
        return watch.speed(self.deltas)

    async def check(self) -> None:
        """Every delta became a label and is counted once."""
        labels = await self.owner.fetchval("SELECT count(*) FROM click_labels")
        counted = await self.owner.fetchval("SELECT sum(clicks)::bigint FROM r15")
        if not labels == counted == self.deltas:
            raise BadRun(f"{self.deltas} deltas, {labels} labels, {counted} counted")

    async def _backend(self) -> int | None:
        pid: int | None = await self.owner.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'milepost fold'"
        )
        return pid


def _run(runner: asyncio.Runner, bench: Bench, campaigns: int, pid: int | None) -> Speed:
    runner.run(bench.fill(campaigns))
    os.sync()
    taken = runner.run(bench.plain() if pid is None else bench.fold(pid))
    runner.run(bench.check())
    return taken
