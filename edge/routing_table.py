"""Keeps the routing table: from Redis as soon as it changes, on disk for a restart with every server down.

A click never waits for anything here: it reads `current`. A change of some rows is read beside the table in use and
put in between two steps of the loop; a whole table is built beside it and swapped. When which happens (design section
2) is `_follow`: rows of the same generation are caught up with by the log of changes, another generation is read
whole. Nothing is taken from a Redis that stands below what is in use unless the publisher says that it must.
"""

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

import structlog

from edge.copy_format import Mark
from edge.copy_keeper import CopyKeeper
from edge.counters import Counters
from edge.routing_redis import ROWS_AT_ONCE, Head, RedisAway, RoutingRedis
from edge.salts import Salts, usable_salts
from edge.table import Entry, RawRow, Table, TableBuilder, read_row

log = structlog.get_logger("edge.routing_table")

POLL_SECONDS: Final = 0.1
REPORT_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 1.0
STEP_SECONDS: Final = 0.001
"""Work on rows goes on for so long before the loop may do something else."""
FREEZE_ROWS: Final = 1000
"""After so many new rows the garbage collector is told to leave them alone. Not after fewer: what is frozen while
requests are open stays for good, so freezing must be rare."""


class RoutingTable:
    """The table in use and the task that keeps it. `run` never ends by itself and never raises for an outage."""

    def __init__(
        self,
        redis_url: str | None,
        copy: Path,
        worker_id: str,
        counters: Counters,
        *,
        writes_copy: bool,
    ) -> None:
        """`writes_copy` on one worker of a host only: the copy is shared."""
        self.current: Table | None = None
        self.filled = asyncio.Event()
        """Set once there is a table."""
        self.confirmed_at: float | None = None
        """time.time() at which Redis last bore out the table in use; for one from disk, when the copy was written."""
        self._copy = CopyKeeper(copy, writes=writes_copy)
        self._worker_id = worker_id
        self._counters = counters
        self._origin = os.urandom(32)
        self._reported_at = -REPORT_SECONDS
        self._passed_over: Head | None = None
        self._redis = RoutingRedis(redis_url) if redis_url else None

    async def load_copy(self) -> None:
        """Take the copy on disk into use; without one, or with a damaged one, there is just no table yet."""
        builder = TableBuilder()
        with _left_alone(builder):
            mark = await self._copy.read(builder.add)
        if mark is None:
            return
        self._use(builder.finish(mark.generation, mark.version, self._salts(mark.salts)))
        self.confirmed_at = mark.at / 1000

    async def run(self) -> None:
        """Follow Redis until cancelled, through every outage of it."""
        if self._redis is None:
            return
        pause = POLL_SECONDS
        reachable = True
        while True:
            try:
                await self._poll(self._redis)
            except RedisAway as error:
                self._counters.add("redis_errors")
                if reachable:
                    log.warning("routing table: redis does not answer", reason=str(error))
                reachable = False
                pause = min(max(pause, POLL_SECONDS) * 2, LONGEST_PAUSE_SECONDS)
            else:
                if not reachable:
                    log.info("routing table: redis answers again")
                reachable = True
                pause = POLL_SECONDS
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Take back this worker's report, so that nobody waits for it, and finish the copy on disk."""
        await self._copy.close()
        if self._redis is None:
            return
        try:
            await self._redis.withdraw(self._worker_id)
            await self._redis.close()
        except RedisAway as error:
            log.info("routing table: report not taken back", reason=str(error))

    async def _poll(self, redis: RoutingRedis) -> None:
        head = await redis.head()
        before = self.current and (self.current.generation, self.current.version)
        if head is not None:
            await self._follow(redis, head)
        table = self.current
        if table is None:
            return
        if head is not None and (head.generation, head.version) == (table.generation, table.version):
            self.confirmed_at = time.time()
        if before != (table.generation, table.version):
            self._reported_at = -REPORT_SECONDS
        await self._report(redis)
        self._copy.tidy()

    async def _report(self, redis: RoutingRedis) -> None:
        """Say what is in use, once a second; also during a long load, else nobody would wait for this worker."""
        table, now = self.current, time.monotonic()
        if table is not None and now - self._reported_at >= REPORT_SECONDS:
            await redis.report(self._worker_id, table.generation, table.version)
            self._reported_at = now

    async def _follow(self, redis: RoutingRedis, head: Head) -> None:
        table = self.current
        if table is not None and head.version < table.version and head.supersedes < table.version:
            # A Redis that came back without its last writes, or with a dump: the publisher mends it.
            self._pass_over(head, "redis holds an older version")
        elif (
            table is None or head.generation != table.generation or (since := self._copy.complete_since(table)) is None
        ):
            await self._load(redis, head)
        elif head.version > since:
            await self._catch_up(redis, table, since)

    async def _catch_up(self, redis: RoutingRedis, table: Table, since: int) -> None:
        """Read what changed after `since`, write it down, then use it."""
        changes = await redis.changes_since(since)
        head = changes.head
        if head is None or head.generation != table.generation or head.version < table.version:
            return  # the next poll sees what became of it
        if head.log_from > since:
            await self._load(redis, head)
            return
        rows: list[RawRow] = []
        entries: list[tuple[bytes, Entry | None]] = []
        steps = _Steps()
        with _left_alone(None):
            for first in range(0, len(changes.keys), ROWS_AT_ONCE):
                found = await redis.rows(changes.keys[first : first + ROWS_AT_ONCE])
                if found is None:
                    await self._load(redis, head)
                    return
                for key, text in found:
                    rows.append((key, text))
                    entries.append((key, read_row(key, text)))
                    await steps.breathe()
                await self._report(redis)
            await self._copy.append(rows, _mark(head, changes.salts))
            table.apply(entries, head.version, self._salts(changes.salts))
        self._counters.add("table_deltas")
        self._counters.add("table_delta_rows", len(entries))
        if unreadable := [key.decode() for key, entry in entries if entry is None]:
            log.error("routing table: rows left out", rows=unreadable[:10], version=head.version)

    async def _load(self, redis: RoutingRedis, head: Head) -> None:
        """Read every row; the table is complete for the version that `head` had before the first."""
        if head == self._passed_over:
            return
        builder = TableBuilder(self.current)
        draft = await self._copy.begin()
        try:
            with _left_alone(builder):
                steps = _Steps()
                async with aclosing(redis.all_rows()) as pieces:
                    async for rows in pieces:
                        for key, text in rows:
                            builder.add(key, text)
                            await steps.breathe()
                        draft = await self._copy.add(draft, rows)
                        await self._report(redis)
                salts = await redis.salts()
            after = await redis.head()
            if after is None or after.generation != head.generation or after.version < head.version:
                return  # written anew or lost in between: the rows may be of both
            table = builder.finish(head.generation, head.version, self._salts(salts))
            if self._would_empty(table):
                self._pass_over(head, "redis holds an empty table, the full one stays")
                return
            await self._copy.finish(draft, _mark(head, salts))
            draft = None
        finally:
            if draft is not None:
                await asyncio.to_thread(draft.discard)
        self._use(table)
        self._counters.add("table_loads")

    def _would_empty(self, table: Table) -> bool:
        held = self.current
        return held is not None and bool((held.by_id and not table.by_id) or (held.accounts and not table.accounts))

    def _use(self, table: Table) -> None:
        self.current = table
        self._passed_over = None
        self.filled.set()
        if table.unreadable:
            log.error("routing table: rows left out", unreadable=table.unreadable, version=table.version)

    def _pass_over(self, head: Head, why: str) -> None:
        if head != self._passed_over:
            held = self.current.version if self.current is not None else None
            log.warning(f"routing table: {why}", held=held, offered=head.version)
        self._passed_over = head

    def _salts(self, texts: dict[str, str]) -> Salts:
        return Salts(usable_salts(texts), self._origin)


class _Steps:
    """Cuts long work into steps between which the loop may do something else."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + STEP_SECONDS

    async def breathe(self) -> None:
        if time.perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + STEP_SECONDS


@contextmanager
def _left_alone(builder: TableBuilder | None) -> Iterator[None]:
    """Keeps the garbage collector from walking through rows while they are read, which would stop everything for a
    tenth of a second, and for good from those of a large table."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        if builder is not None and builder.compiled >= FREEZE_ROWS:
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def _mark(head: Head, salts: dict[str, str]) -> Mark:
    return Mark(head.generation, head.version, salts, int(time.time() * 1000))
