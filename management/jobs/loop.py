"""The process `milepost jobs`: the publisher every 250 ms; salts, days and the sweep of strangers every minute."""

import asyncio
import signal
from datetime import UTC, datetime

import structlog

from management.db.keyring import load_key_ring
from management.db.pool import INGEST_ROLE, UNREACHABLE, SoleConnection, connect, role_url
from management.jobs import repository
from management.publisher import Redis, RoutingUnavailable, open_redis, publish_table, published_version
from shared.env import Settings

PUBLISH_SECONDS = 0.25
UPKEEP_SECONDS = 60.0
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


async def publish(connection: SoleConnection, redis: Redis) -> bool:
    """Bring Redis up to Postgres; True when it had fallen behind."""
    if await repository.routing_version(connection) == await published_version(redis):
        return False
    table = await repository.routing_table(connection)
    await publish_table(redis, table.version, table.campaigns, table.accounts, table.salts)
    log.info("routing_table_published", version=table.version, campaigns=len(table.campaigns))
    return True


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
