"""When the chain is well again: everything runs, links answer, and what was answered is stored and folded."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg

from management.db.pool import UNREACHABLE
from shared.ids import click_id_time
from tests.faults.chain.oracle import Page

if TYPE_CHECKING:
    from tests.faults.chain.system import System

CANARIES: Final = 24
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WAYPOINTS: Final = """
SELECT (SELECT count(*) FROM clicks WHERE account_id = $1 AND ts = ANY($2::timestamptz[]) AND click_id = ANY($3)) AS stored,
       (SELECT count(*) FROM click_deltas WHERE click_id = ANY($3)) AS not_folded
"""


class NotHealthy(AssertionError):
    """The chain did not recover within its deadline; the text says what was still missing."""


async def on_the_way(system: "System", ids: list[bytes]) -> str:
    """What these answered clicks still lack, in words; empty when they are stored and folded."""
    times = [_EPOCH + timedelta(milliseconds=click_id_time(raw)) for raw in ids]
    try:
        async with system.database() as connection:
            ((stored, not_folded),) = await connection.fetch(_WAYPOINTS, system.account, times, ids)
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        return f"Postgres does not answer: {error or type(error).__name__}"
    if stored < len(set(ids)):
        return f"{len(set(ids)) - stored} of {len(set(ids))} answered clicks are not stored"
    return f"{not_folded} clicks are not folded" if not_folded else ""


async def until_answered(page: Page, more: int, seconds: float) -> None:
    """Until so many more clicks got their redirect."""
    goal = page.answered + more
    deadline = time.monotonic() + seconds
    while page.answered < goal:
        if time.monotonic() > deadline:
            raise NotHealthy(f"links do not answer: {page.answered - goal + more} of {more} within {seconds} s")
        await asyncio.sleep(0.02)


async def until_healthy(system: "System", page: Page, witnesses: list[bytes], seconds: float) -> float:
    """Until every part runs and the `witnesses`, and clicks answered from now on, went all the way. Gives the seconds
    that took; raises NotHealthy after `seconds`."""
    began = time.monotonic()
    await until_answered(page, CANARIES, seconds)
    ids = [*witnesses, *page.last_ids(CANARIES)]
    while True:
        lacks = ", ".join(system.down()) + " down" if system.down() else await on_the_way(system, ids)
        if not lacks:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise NotHealthy(f"not healthy after {seconds:.0f} s: {lacks}")
        await asyncio.sleep(0.1)
