"""The process `milepost jobs`: the publisher every 250 ms; salts, days and the sweep of strangers every minute; the
books every hour."""

import asyncio
import signal
from datetime import UTC, datetime

import structlog

from management.db.keyring import load_key_ring
from management.db.pool import INGEST_ROLE, UNREACHABLE, SoleConnection, connect, role_url
from management.deadletters.retention import forget_old
from management.jobs import repository
from management.jobs.books import keep_books
from management.publisher import Redis, RoutingUnavailable, open_redis, publish_changes, publish_table, published
from shared.campaigns import LOG_ROWS
from shared.env import Settings

PUBLISH_SECONDS = 0.25
UPKEEP_SECONDS = 60.0
MOST_CHANGES = LOG_ROWS // 2
"""Edges that are further behind read all rows, so more than this is written as a whole table."""
_LONGEST_PAUSE = 5.0

log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Work until SIGTERM; Postgres and Redis may come and go. Returns the exit status."""
    assert settings.database_url is not None
    assert settings.redis_url is not None
    url = role_url(settings.database_url, INGEST_ROLE, load_key_ring(settings, create=False))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    redis = open_redis(settings.redis_url)
    books = asyncio.create_task(keep_books(url, stop))
    pause = PUBLISH_SECONDS
    while not stop.is_set():
        try:
            await _work(url, redis, stop)
        except UNREACHABLE as error:
            log.warning("postgres_unreachable", error=str(error) or type(error).__name__, retry_seconds=pause)
        except RoutingUnavailable as error:
            log.warning("redis_unreachable", error=str(error), retry_seconds=pause)
        else:
            break
        await _sleep(stop, pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    await redis.aclose()
    books.cancel()
    await asyncio.gather(books, return_exceptions=True)  # a count that was cut short is made by the next life
    return 0


async def _work(url: str, redis: Redis, stop: asyncio.Event) -> None:
    connection = await connect(url, application="milepost jobs")
    loop = asyncio.get_running_loop()
    try:
        upkeep_at = 0.0
        while not stop.is_set():
            if loop.time() >= upkeep_at:
                await upkeep(connection)
                upkeep_at = loop.time() + UPKEEP_SECONDS
            await publish(connection, redis)
            await _sleep(stop, PUBLISH_SECONDS)
    finally:
        connection.terminate()


async def upkeep(connection: SoleConnection) -> None:
    """Everything that must be there before the clock gets there, and what must not stay."""
    today = datetime.now(UTC).date()
    await repository.keep_salts(connection, today)
    await repository.keep_days(connection, today)
    await repository.forget_strangers(connection)
    await forget_old(connection)


async def publish(connection: SoleConnection, redis: Redis) -> bool:
    """Bring Redis up to Postgres; True when there was something to do."""
    # Redis before Postgres: whatever version anybody has by now is in Postgres then, or it is of a history that
    # Postgres lost.
    there = await published(redis)
    version = await repository.routing_version(connection)
    lost = max(there.version or 0, there.in_use if there.in_use > there.supersedes else 0)
    if there.generation is None or there.version is None or lost > version:
        await _publish_whole(connection, redis, max(there.supersedes, lost if lost > version else 0))
        return True
    if there.version == version:
        return False
    changes = await repository.routing_changes(connection, there.version, MOST_CHANGES + 1)
    if len(changes.rows) > MOST_CHANGES:
        await _publish_whole(connection, redis, there.supersedes)
        return True
    if await publish_changes(redis, there.generation, changes.version, changes.rows, changes.salts):
        log.info("routing_changes_published", version=changes.version, rows=len(changes.rows))
    return True


async def _publish_whole(connection: SoleConnection, redis: Redis, supersedes: int) -> None:
    table = await repository.routing_table(connection)
    await publish_table(redis, table.version, table.campaigns, table.accounts, table.salts, supersedes)
    log.info(
        "routing_table_published", version=table.version, campaigns=len(table.campaigns), supersedes=supersedes or None
    )


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
