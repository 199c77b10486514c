"""Covers several ingest processes on one log: they share its partitions evenly, take over from one that was killed or
froze, even inside a COPY, let a new one have its part, and store each record once meanwhile. The arithmetic of shares
is tests/unit/ingest/test_partitions.py."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from management.db.lease import SILENT_SECONDS
from shared.topics import EVENTS_PARTITIONS
from tests.ingest_builders import click
from tests.ingest_process import Start, until_count
from tests.integration.ingest_kafka.log import Log, assert_each_once, new_stream, partition_of, records, until_stored

TAKEN_OVER_SECONDS = 6.0
_SETTLE_SECONDS = 40.0
_HOLDERS = (
    "SELECT activity.pid FROM leases JOIN pg_stat_activity AS activity USING (backend_start)"
    " WHERE activity.pid = leases.backend_pid AND leases.name LIKE 'ingest.partition.%'"
)
_LIVING_MEMBERS = (
    "SELECT count(*) FROM ingest_members AS member JOIN pg_stat_activity AS activity USING (backend_start)"
    " WHERE activity.pid = member.backend_pid"
)
_IN_COPY = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost ingest' AND state = 'active'"
    " AND query LIKE 'COPY %' AND wait_event = 'ClientRead'"
)


async def until_shared(owner: asyncpg.Connection, *shares: int, seconds: float = _SETTLE_SECONDS) -> None:
    """Until living processes have so many partitions each, in any order."""
    found: list[int] = []
    try:
        async with asyncio.timeout(seconds):
            while found != sorted(shares):
                await asyncio.sleep(0.05)
                found = sorted(Counter(row["pid"] for row in await owner.fetch(_HOLDERS)).values())
    except TimeoutError:
        raise AssertionError(f"{sorted(shares)} were wanted, {found} found") from None


class Traffic:
    """Streams in all partitions, growing until told to stop."""

    def __init__(self, log: Log) -> None:
        self.ends = {new_stream(partition): 1 for partition in range(EVENTS_PARTITIONS)}
        self._log = log
        self._stop = asyncio.Event()
        self._work = asyncio.create_task(self._flow())

    async def _flow(self) -> None:
        chance = random.Random(7)
        while not self._stop.is_set():
            for stream, next_seq in self.ends.items():
                some = [click() for _ in range(chance.randrange(1, 30))]
                await self._log.send(stream, records(some, next_seq))
                self.ends[stream] += len(some)
            await asyncio.sleep(0.05)

    @property
    def clicks(self) -> int:
        return sum(self.ends.values()) - len(self.ends)

    async def end(self) -> None:
        self._stop.set()
        await self._work

    def give_up(self) -> None:
        self._work.cancel()


@pytest.fixture
async def traffic(log: Log) -> AsyncIterator[Traffic]:
    traffic = Traffic(log)
    yield traffic
    traffic.give_up()


async def test_two_share_a_killed_one_is_replaced_and_a_third_joins(
    start: Start, log: Log, owner: asyncpg.Connection, traffic: Traffic
) -> None:
    first = start("first")
    await until_shared(owner, 12)
    second = start("second")
    await until_shared(owner, 6, 6)
    first.signal(signal.SIGKILL)
    await first.ended()
    stream = new_stream(0)
    began = time.monotonic()
    await until_shared(owner, 12, seconds=TAKEN_OVER_SECONDS)
    await log.send(stream, records([click()]))
    await until_count(owner, "clicks", 1)
    assert time.monotonic() - began < TAKEN_OVER_SECONDS
    third, fourth = start("third"), start("fourth")
    await until_shared(owner, 4, 4, 4)
    await traffic.end()
    await until_stored(owner, traffic.ends | {stream: 2})
    for process in (second, third, fourth):
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert process.said("ingest_interrupted") == 0, "who lets go, loses nothing"
    await assert_each_once(owner, traffic.clicks + 1)
    assert await owner.fetch(_HOLDERS) == []
    async with asyncio.timeout(_SETTLE_SECONDS):  # backends end by themselves; only the dead may still be named
        while await owner.fetchval(_LIVING_MEMBERS):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_one_that_stops_in_order_is_followed_at_once(start: Start, log: Log, owner: asyncpg.Connection) -> None:
    first = start("first")
    start("second")
    await until_shared(owner, 6, 6)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await until_shared(owner, 12, seconds=3.0)


async def test_a_zombie_frozen_inside_copy_stores_nothing_twice(
    start: Start, log: Log, owner: asyncpg.Connection
) -> None:
    ends: dict[bytes, int] = {}
    frozen = start("frozen")
    await until_shared(owner, 12)
    caught = False
    while not caught:
        assert len(ends) < 40, "it was never caught inside a COPY"
        stream = new_stream(len(ends) % EVENTS_PARTITIONS)
        await log.send(stream, records(click() for _ in range(6000)))
        ends[stream] = 6001
        stored = 6000 * len(ends)
        while not caught and await owner.fetchval("SELECT count(*) FROM clicks") < stored:
            frozen.signal(signal.SIGSTOP)
            await asyncio.sleep(0.01)
            caught = bool(await owner.fetchval(_IN_COPY))
            if not caught:
                frozen.signal(signal.SIGCONT)
                await asyncio.sleep(0.001)
    assert await owner.fetchval("SELECT count(*) FROM clicks") < stored
    second = start("second")
    await second.until("ingest_works")
    await until_shared(owner, 12, seconds=SILENT_SECONDS + 5)
    await until_stored(owner, ends)
    frozen.signal(signal.SIGCONT)
    await frozen.until("ingest_interrupted")
    await until_shared(owner, 6, 6)
    late = new_stream(2), new_stream(9)
    for stream in late:
        await log.send(stream, records([click()]))
        ends[stream] = 2
    await until_stored(owner, ends)
    for process in (frozen, second):
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    await assert_each_once(owner, stored + 2)


async def test_a_frozen_one_is_not_waited_for_when_it_holds_what_is_read(
    start: Start, log: Log, owner: asyncpg.Connection
) -> None:
    first, second = start("first"), start("second")
    await until_shared(owner, 6, 6)
    first.signal(signal.SIGSTOP)
    began = time.monotonic()
    streams = [new_stream(partition) for partition in range(EVENTS_PARTITIONS)]
    for stream in streams:
        await log.send(stream, records([click()]))
    await until_stored(owner, dict.fromkeys(streams, 2), SILENT_SECONDS + TAKEN_OVER_SECONDS)
    assert time.monotonic() - began > SILENT_SECONDS - 2, "it was given its time"
    first.signal(signal.SIGCONT)
    await until_shared(owner, 6, 6)
    assert {partition_of(stream) for stream in streams} == set(range(EVENTS_PARTITIONS))
    for process in (first, second):
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    await assert_each_once(owner, len(streams))
