"""Keeps the routing table: from Redis as soon as it changes, on disk for a restart with every server down.

The only place in the edge that knows Redis. A click never waits for anything here: it reads `current`, which is
swapped whole. Rules for what may take its place (design section 2): never an empty table over a full one, nothing
while Redis does not say for which version its rows are complete, and an older version only once it has stood for
longer than the publisher needs to repair a Redis that came back with yesterday's data.
"""

import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from edge.counters import Counters
from edge.table import DAY_MS, RawTable, Table, TableBuilder, decode_copy, encode_copy
from shared.campaigns import REDIS_ACCOUNTS, REDIS_CAMPAIGNS, REDIS_EDGES, REDIS_SALTS, REDIS_VERSION

log = structlog.get_logger("edge.routing_table")

POLL_SECONDS: Final = 0.1
REPORT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
"""How long one answer of Redis may take; the client retries nothing by itself."""
LOAD_SECONDS: Final = 30.0
SALT_SECONDS: Final = 60.0
"""Salts are made without a change of version, so they are asked for by the clock as well."""
LONGEST_PAUSE_SECONDS: Final = 1.0
OLDER_VERSION_SECONDS: Final = 5.0
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
        self._copy = copy
        self._worker_id = worker_id
        self._counters = counters
        self._writes_copy = writes_copy
        self._origin = os.urandom(32)
        self._salts_read_at = 0.0
        self._reported_at = 0.0
        self._older_since: float | None = None
        self._copy_due: RawTable | None = None
        self._copy_writing: asyncio.Task[None] | None = None
        self._redis = _client(redis_url) if redis_url else None

    async def load_copy(self) -> None:
        """Take the copy on disk into use; without one, or with a damaged one, there is just no table yet."""
        try:
            content = await asyncio.to_thread(self._copy.read_bytes)
            written_at = self._copy.stat().st_mtime
        except FileNotFoundError:
            return
        try:
            raw = decode_copy(content)
        except (ValueError, KeyError, TypeError) as error:
            log.error("routing copy unreadable", path=str(self._copy), reason=str(error))
            return
        await self._take(raw, write=False)
        self.confirmed_at = written_at

    async def run(self) -> None:
        """Follow Redis until cancelled, through every outage of it."""
        if self._redis is None:
            return
        pause = POLL_SECONDS
        reachable = True
        while True:
            try:
                await self._poll(self._redis)
            except (RedisError, OSError, TimeoutError) as error:
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
        if self._copy_writing is not None:
            await self._copy_writing
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._redis.hdel(REDIS_EDGES, self._worker_id)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("routing table: report not taken back", reason=str(error))
        await self._redis.aclose()

    async def _poll(self, redis: Redis) -> None:
        version = _number(await redis.get(REDIS_VERSION))
        now = time.monotonic()
        if version is not None and self._wants(version, now):
            async with asyncio.timeout(LOAD_SECONDS):
                raw = await _read_all(redis)
            self._salts_read_at = now
            if raw is not None and self._may_replace(raw):
                await self._take(raw, write=self._writes_copy)
                await self._report(redis, now)
        if self.current is None:
            return
        if version == self.current.version:
            self.confirmed_at = time.time()
        if now - self._reported_at >= REPORT_SECONDS:
            await self._report(redis, now)

    def _wants(self, version: int, now: float) -> bool:
        table = self.current
        if table is None or version > table.version:
            self._older_since = None
            return True
        if version == table.version:
            self._older_since = None
            return now - self._salts_read_at >= SALT_SECONDS
        if self._older_since is None:
            self._older_since = now
            log.warning("routing table: redis holds an older version", held=table.version, offered=version)
        return now - self._older_since >= OLDER_VERSION_SECONDS

    def _may_replace(self, raw: RawTable) -> bool:
        table = self.current
        if table is None:
            return True
        if (table.by_id and not raw.campaigns) or (table.accounts and not raw.accounts):
            log.error("routing table: redis holds an empty table, the full one stays", version=raw.version)
            return False
        return True

    async def _take(self, raw: RawTable, *, write: bool) -> None:
        builder = TableBuilder(raw, self.current, self._origin)
        for _ in builder.steps():
            await asyncio.sleep(0)
        table = builder.table
        assert table is not None
        changed = (
            self.current is None
            or table.version != self.current.version
            or builder.compiled > 0
            or table.salts.known != self.current.salts.known
        )
        self.current = table
        self.filled.set()
        if changed:
            self._counters.add("table_loads")
        if builder.compiled >= FREEZE_ROWS:
            gc.freeze()
        if table.unreadable:
            log.error("routing table: rows left out", unreadable=table.unreadable, version=table.version)
        if write and changed:
            self._copy_due = raw
            if self._copy_writing is None or self._copy_writing.done():
                self._copy_writing = asyncio.create_task(self._write_copies())

    async def _write_copies(self) -> None:
        while (raw := self._copy_due) is not None:
            self._copy_due = None
            await asyncio.to_thread(_write_copy, self._copy, raw, int(time.time() * 1000) // DAY_MS)

    async def _report(self, redis: Redis, now: float) -> None:
        if self.current is None:
            return
        report = orjson.dumps({"version": self.current.version, "at": int(time.time() * 1000)})
        await redis.hset(REDIS_EDGES, self._worker_id, report)
        self._reported_at = now


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        max_connections=2,
    )


def _number(text: bytes | str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


async def _read_all(redis: Redis) -> RawTable | None:
    """All rows of one instant with the version they are complete for, or None when there is none."""
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.get(REDIS_VERSION)
        pipeline.hvals(REDIS_CAMPAIGNS)
        pipeline.hvals(REDIS_ACCOUNTS)
        pipeline.hgetall(REDIS_SALTS)
        answers: list[Any] = await pipeline.execute()
    version = _number(answers[0])
    if version is None:
        return None
    salts = {day.decode("utf-8", "replace"): text.decode("utf-8", "replace") for day, text in answers[3].items()}
    return RawTable(version, answers[1], answers[2], salts)


def _write_copy(path: Path, raw: RawTable, day: int) -> None:
    """Replace the copy atomically. It holds tokens and salts, so it is for this user alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_copy(raw, day))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        log.error("routing copy not written", path=str(path), reason=str(error))
        draft.unlink(missing_ok=True)
