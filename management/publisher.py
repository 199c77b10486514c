"""Tells every edge of changed campaigns and accounts, through Redis; the only place here that names redis.

A change is published at once by the process that made it. The publisher repeats what was missed (a crash between
commit and publish, a Redis that was away or lost its last writes). It writes the whole table, as a new generation,
when Redis has none, or when somebody has a version that Postgres does not have. What each key means is said in
shared/campaigns.py.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.campaigns import (
    ACCOUNT_KEY,
    CAMPAIGN_KEY,
    LOG_ROWS,
    REDIS_ACCOUNTS,
    REDIS_CAMPAIGNS,
    REDIS_EDGES,
    REDIS_GENERATION,
    REDIS_LOG,
    REDIS_LOG_FROM,
    REDIS_SALTS,
    REDIS_SUPERSEDES,
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
KEEPS_ALL = "noeviction"
FORGET_MS = 3_600_000
"""The report of an edge that has been silent for this long is deleted."""
PROPAGATION_SECONDS = 1.0
_POLL_SECONDS = 0.02
_ROWS_AT_ONCE = 500
_DRAFT_SECONDS = 600
"""A table that was not finished leaves Redis by itself."""

# KEYS: campaigns, accounts, log, log-from. ARGV: the log's length, then for each row the number of its hash, its id,
# its place in the log, its text and its version. An older row never replaces a newer one.
_PUT = """
for n = 2, #ARGV, 5 do
    local key, version = KEYS[tonumber(ARGV[n])], tonumber(ARGV[n + 4])
    local old = redis.call('HGET', key, ARGV[n + 1])
    if not old or cjson.decode(old).version < version then
        redis.call('HSET', key, ARGV[n + 1], ARGV[n + 3])
        redis.call('ZADD', KEYS[3], version, ARGV[n + 2])
    end
end
local extra = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[1])
if extra > 0 then
    local last = redis.call('ZRANGE', KEYS[3], extra - 1, extra - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', KEYS[3], 0, extra - 1)
    redis.call('SET', KEYS[4], string.format('%d', last[2]))
end
"""

# KEYS and ARGV as above, with the version as the fifth key. The version moves on only without a gap: over this row,
# and over rows that came before their turn.
_PUBLISH = (
    _PUT
    + """
local version = tonumber(ARGV[6])
if redis.call('GET', KEYS[5]) ~= string.format('%d', version - 1) then
    return 0
end
local later = redis.call('ZRANGEBYSCORE', KEYS[3], string.format('(%d', version), '+inf', 'WITHSCORES', 'LIMIT', 0, 1000)
for n = 2, #later, 2 do
    if tonumber(later[n]) ~= version + 1 then break end
    version = version + 1
end
redis.call('SET', KEYS[5], string.format('%d', version))
return 1
"""
)

# KEYS as above, with the generation as the sixth. ARGV: the generation that the rows are for, then as above. Rows that
# are ahead of the version harm nobody: the version follows when all are there.
_REPAIR = (
    """
if redis.call('GET', KEYS[6]) ~= table.remove(ARGV, 1) then return 0 end
"""
    + _PUT
    + "return 1"
)

# KEYS: generation, version, salts. ARGV: the generation, the version, then days and salts.
_FINISH_REPAIR = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
for n = 3, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[n], ARGV[n + 1]) end
if tonumber(redis.call('GET', KEYS[2])) < tonumber(ARGV[2]) then redis.call('SET', KEYS[2], ARGV[2]) end
return 1
"""


class RoutingUnavailable(Exception):
    """Redis cannot be reached; edges keep what they have."""


@dataclass(frozen=True, slots=True)
class Published:
    """What Redis holds: None where nobody filled it. `in_use` is the highest version that a live edge reports, 0
    without one; versions up to `supersedes` are known to be of a lost history."""

    generation: str | None
    version: int | None
    supersedes: int
    in_use: int


def open_redis(url: str) -> Redis:
    """A client with deadlines of its own: with the defaults a dead server costs seconds a call."""
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0), health_check_interval=0
    )


async def publish_campaign(client: Redis, row: CampaignRow) -> None:
    """Raises RoutingUnavailable."""
    await _publish(client, row)


async def publish_account(client: Redis, row: AccountRow) -> None:
    """Raises RoutingUnavailable."""
    await _publish(client, row)


async def _publish(client: Redis, row: CampaignRow | AccountRow) -> None:
    await _run(client, _PUBLISH, (*_PUT_KEYS, REDIS_VERSION), (LOG_ROWS, *_arguments(row)))


_PUT_KEYS = (REDIS_CAMPAIGNS, REDIS_ACCOUNTS, REDIS_LOG, REDIS_LOG_FROM)


def _arguments(row: CampaignRow | AccountRow) -> tuple[int, int, bytes, bytes, int]:
    place, prefix = (1, CAMPAIGN_KEY) if isinstance(row, CampaignRow) else (2, ACCOUNT_KEY)
    return place, row.id, prefix + b"%d" % row.id, row.to_json(), row.version


async def _run(client: Redis, script: str, keys: tuple[str, ...], arguments: Iterable[str | bytes | int]) -> bool:
    try:
        answer: Any = client.eval(script, len(keys), *keys, *arguments)
        return bool(await answer)
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error


async def published(client: Redis) -> Published:
    """What Redis holds and edges use. Raises RoutingUnavailable."""
    try:
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.mget(REDIS_GENERATION, REDIS_VERSION, REDIS_SUPERSEDES, REDIS_LOG_FROM)
            pipeline.time()
            pipeline.hgetall(REDIS_EDGES)
            (generation, version, supersedes, log_from), now, edges = await pipeline.execute()
        reports = {worker: orjson.loads(report) for worker, report in edges.items()}
        silent = [worker for worker, report in reports.items() if _ms(now) - report["at"] >= FORGET_MS]
        if silent:
            await client.hdel(REDIS_EDGES, *silent)
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error
    whole = generation and version and log_from
    return Published(
        generation.decode() if whole else None,
        int(version) if whole else None,
        int(supersedes or 0),
        max((report["version"] for report in reports.values() if _ms(now) - report["at"] < LIVE_MS), default=0),
    )


def _ms(time_of_redis: tuple[int, int]) -> int:
    seconds, microseconds = time_of_redis
    return seconds * 1000 + microseconds // 1000


async def eviction_policy(client: Redis) -> str:
    """What Redis does when its memory is full, such as `noeviction`. Raises RoutingUnavailable."""
    try:
        told: Mapping[str, Any] = await client.info("memory")
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error
    return str(told.get("maxmemory_policy", KEEPS_ALL))


async def published_version(client: Redis) -> int | None:
    """The version that Redis is complete for; None when it was never filled. Raises RoutingUnavailable."""
    return (await published(client)).version


async def publish_changes(
    client: Redis,
    generation: str,
    version: int,
    rows: Iterable[CampaignRow | AccountRow],
    salts: Mapping[str, str],
) -> bool:
    """Bring the table of `generation` up to `version`: `rows` are all that changed since the version it is complete
    for. False when it is another generation by now. Raises RoutingUnavailable."""
    left = iter(rows)
    while piece := list(islice(left, _ROWS_AT_ONCE)):
        arguments = [value for row in piece for value in _arguments(row)]
        if not await _run(
            client, _REPAIR, (*_PUT_KEYS, REDIS_VERSION, REDIS_GENERATION), (generation, LOG_ROWS, *arguments)
        ):
            return False
    pairs = [text for pair in salts.items() for text in pair]
    keys = (REDIS_GENERATION, REDIS_VERSION, REDIS_SALTS)
    return await _run(client, _FINISH_REPAIR, keys, (generation, version, *pairs))


async def publish_table(
    client: Redis,
    version: int,
    campaigns: Mapping[int, CampaignRow],
    accounts: Mapping[int, AccountRow],
    salts: Mapping[str, str],
    supersedes: int = 0,
) -> None:
    """Write the whole table as of `version`, a new generation, in place of what is there. An edge with a version up to
    `supersedes` takes it even if `version` is lower. Raises RoutingUnavailable.

    The rows are written beside those in use and take their place at once, so that an edge never reads half of them.
    """
    generation = secrets.token_hex(8)
    try:
        drafts = [
            (REDIS_CAMPAIGNS, await _draft(client, generation, REDIS_CAMPAIGNS, campaigns.values())),
            (REDIS_ACCOUNTS, await _draft(client, generation, REDIS_ACCOUNTS, accounts.values())),
        ]
        async with client.pipeline(transaction=True) as pipeline:
            for key, draft in drafts:
                pipeline.unlink(key)
                if draft is not None:
                    pipeline.rename(draft, key)
                    pipeline.persist(key)
            pipeline.unlink(REDIS_SALTS, REDIS_LOG)
            if salts:
                pipeline.hset(REDIS_SALTS, items=[text for pair in salts.items() for text in pair])
            pipeline.set(REDIS_LOG_FROM, version)
            pipeline.set(REDIS_VERSION, version)
            pipeline.set(REDIS_SUPERSEDES, supersedes)
            pipeline.set(REDIS_GENERATION, generation)
            await pipeline.execute()
    except (RedisError, OSError) as error:
        raise RoutingUnavailable(str(error)) from error


async def _draft(client: Redis, generation: str, key: str, rows: Iterable[CampaignRow | AccountRow]) -> str | None:
    """The key under which `rows` lie, None without any."""
    draft = f"{key}:{generation}"
    left = iter(rows)
    written = None
    while piece := list(islice(left, _ROWS_AT_ONCE)):
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.hset(draft, mapping={str(row.id): row.to_json() for row in piece})
            pipeline.expire(draft, _DRAFT_SECONDS)
            await pipeline.execute()
        written = draft
    return written


async def wait_propagated(client: Redis, version: int, timeout: float = PROPAGATION_SECONDS) -> bool:  # noqa: ASYNC109
    """Whether every live edge took `version` into use within `timeout` seconds; False when Redis is away too."""
    # No timeout around it all: the client may swallow the cancellation, and then nothing would end it.
    deadline = time.monotonic() + timeout
    while True:
        try:
            if await _all_have(client, version):
                return True
        except (RedisError, OSError):
            return False
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)


async def _all_have(client: Redis, version: int) -> bool:
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.time()
        pipeline.hvals(REDIS_EDGES)
        now, values = await pipeline.execute()
    reports = [orjson.loads(value) for value in values]
    live = [report for report in reports if _ms(now) - report["at"] < LIVE_MS]
    return bool(live) and all(report["version"] >= version for report in live)
