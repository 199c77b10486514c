"""Tells every edge of changed campaigns and accounts, through Redis; the only place here that names redis.

A change is published at once by the process that made it. The publisher repeats what was missed: a version that
Redis does not have (a crash between commit and publish, two processes crossing, a Redis that came back empty) is
mended by writing the whole table again, in one MULTI, so that an edge never reads half of it.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.campaigns import (
    REDIS_ACCOUNTS,
    REDIS_CAMPAIGNS,
    REDIS_EDGES,
    REDIS_SALTS,
    REDIS_VERSION,
    AccountRow,
    CampaignRow,
)

if TYPE_CHECKING:
    Redis = redis.asyncio.Redis
else:
    Redis = object

LIVE_MS = 3_000
"""An edge that has not reported for this long is not waited for."""
PROPAGATION_SECONDS = 1.0
_POLL_SECONDS = 0.02

# KEYS: hash, version. ARGV: id, row, the row's version. An older row never replaces a newer one; the version moves
# on only without a gap, else the publisher writes the whole table.
_PUBLISH = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old or cjson.decode(old).version < tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if redis.call('GET', KEYS[2]) == tostring(tonumber(ARGV[3]) - 1) then
    redis.call('SET', KEYS[2], ARGV[3])
    return 1
end
return 0
"""


class RoutingUnavailable(Exception):
    """Redis cannot be reached; edges keep what they have."""


def open_redis(url: str) -> Redis:
    """A client with deadlines of its own: with the defaults a dead server costs seconds a call."""
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0), health_check_interval=0
    )


async def publish_campaign(client: Redis, row: CampaignRow) -> None:
    """Raises RoutingUnavailable."""
    await _publish(client, REDIS_CAMPAIGNS, row)


async def publish_account(client: Redis, row: AccountRow) -> None:
    """Raises RoutingUnavailable."""
    await _publish(client, REDIS_ACCOUNTS, row)


async def _publish(client: Redis, key: str, row: CampaignRow | AccountRow) -> None:
    try:
        await client.eval(_PUBLISH, 2, key, REDIS_VERSION, str(row.id), row.to_json(), str(row.version))
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error


async def published_version(client: Redis) -> int | None:
    """The version that Redis is complete for; None when it was never filled. Raises RoutingUnavailable."""
    try:
        text = await client.get(REDIS_VERSION)
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error
    return None if text is None else int(text)


async def publish_table(
    client: Redis,
    version: int,
    campaigns: Mapping[int, CampaignRow],
    accounts: Mapping[int, AccountRow],
    salts: Mapping[str, str],
) -> None:
    """Write the whole table as of `version`, replacing what is there. Raises RoutingUnavailable."""
    hashes: tuple[tuple[str, Mapping[str, bytes] | Mapping[str, str]], ...] = (
        (REDIS_CAMPAIGNS, {str(number): row.to_json() for number, row in campaigns.items()}),
        (REDIS_ACCOUNTS, {str(number): row.to_json() for number, row in accounts.items()}),
        (REDIS_SALTS, salts),
    )
    try:
        async with client.pipeline(transaction=True) as pipeline:
            for key, values in hashes:
                pipeline.delete(key)
                if values:
                    pipeline.hset(key, mapping=dict(values))  # type: ignore[arg-type]
            pipeline.set(REDIS_VERSION, version)
            await pipeline.execute()
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error


async def wait_propagated(client: Redis, version: int, timeout: float = PROPAGATION_SECONDS) -> bool:  # noqa: ASYNC109
    """Whether every live edge took `version` into use within `timeout` seconds; False when Redis is away too."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            reports = [orjson.loads(value) for value in await client.hvals(REDIS_EDGES)]
        except (RedisError, OSError):
            return False
        now_ms = time.time_ns() // 1_000_000
        live = [report for report in reports if now_ms - report["at"] < LIVE_MS]
        if live and all(report["version"] >= version for report in live):
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
