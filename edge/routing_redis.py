"""What an edge asks of Redis; the only place in the edge that knows it. Every call has its own deadline, and each
answer is small enough to be read in a few milliseconds, however large the table is."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from edge.table import RawRow
from shared.campaigns import (
    ACCOUNT_KEY,
    CAMPAIGN_KEY,
    REDIS_ACCOUNTS,
    REDIS_CAMPAIGNS,
    REDIS_EDGES,
    REDIS_GENERATION,
    REDIS_LOG,
    REDIS_LOG_FROM,
    REDIS_SALTS,
    REDIS_SUPERSEDES,
    REDIS_VERSION,
)

ANSWER_SECONDS: Final = 1.0
"""How long one answer of Redis may take; the client retries nothing by itself."""
ROWS_AT_ONCE: Final = 200
_HASHES: Final = ((CAMPAIGN_KEY, REDIS_CAMPAIGNS), (ACCOUNT_KEY, REDIS_ACCOUNTS))

# KEYS: edges. ARGV: worker, version, generation. By Redis' own clock, so that no two machines' clocks are compared.
_REPORT: Final = """
local time = redis.call('TIME')
local at = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local report = '{"version":' .. ARGV[2] .. ',"generation":"' .. ARGV[3] .. '","at":' .. at .. '}'
return redis.call('HSET', KEYS[1], ARGV[1], report)
"""


class RedisAway(Exception):
    """Redis did not answer, or not as it should; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the rows in Redis are: shared/campaigns.py says what each key means."""

    generation: str
    version: int
    log_from: int
    supersedes: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, as of `head`: keys of rows (`c:7`), and the salts by day in hex."""

    head: Head | None
    keys: list[bytes]
    salts: dict[str, str]


class RoutingRedis:
    """One worker's connection. Every call raises RedisAway."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            max_connections=2,
        )

    async def head(self) -> Head | None:
        """None while nobody has filled Redis."""
        with _asking():
            answer: Any = await self._client.mget(_HEAD_KEYS)
            return _head(answer)

    async def changes_since(self, version: int) -> Changes:
        """Everything that changed after `version`, if the log of the returned head reaches so far back."""
        with _asking():
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.mget(_HEAD_KEYS)
                # Up to the end, not up to the head's version: a row that changed again has only its newer place.
                pipeline.zrangebyscore(REDIS_LOG, f"({version}", "+inf")
                pipeline.hgetall(REDIS_SALTS)
                head, keys, salts = await pipeline.execute()
        return Changes(_head(head), keys, _texts(salts))

    async def salts(self) -> dict[str, str]:
        """By day, in hex."""
        with _asking():
            answer: Any = await self._client.hgetall(REDIS_SALTS)
        return _texts(answer)

    async def rows(self, keys: Sequence[bytes]) -> list[RawRow] | None:
        """The rows of at most ROWS_AT_ONCE keys; None when one of them is not there."""
        found: list[RawRow] = []
        for prefix, name in _HASHES:
            mine = [key for key in keys if key.startswith(prefix)]
            if not mine:
                continue
            with _asking():
                texts: Any = await self._client.hmget(name, [key.removeprefix(prefix).decode() for key in mine])
            if None in texts:
                return None
            found += zip(mine, texts, strict=True)
        return found

    async def all_rows(self) -> AsyncGenerator[list[RawRow], None]:
        """Every row that is there from beginning to end, in pieces; one may come twice."""
        for prefix, name in _HASHES:
            cursor = 0
            while True:
                with _asking():
                    answer: Any = await self._client.hscan(name, cursor, count=ROWS_AT_ONCE)
                cursor, rows = answer
                yield [(prefix + field, text) for field, text in rows.items()]
                if cursor == 0:
                    break

    async def report(self, worker_id: str, generation: str, version: int) -> None:
        """Say which version this worker has in use."""
        with _asking():
            answer: Any = self._client.eval(_REPORT, 1, REDIS_EDGES, worker_id, str(version), generation)
            await answer

    async def withdraw(self, worker_id: str) -> None:
        """Take the report back, so that nobody waits for this worker."""
        with _asking():
            answer: Any = self._client.hdel(REDIS_EDGES, worker_id)
            await answer

    async def close(self) -> None:
        with _asking():
            await self._client.aclose()


_HEAD_KEYS: Final = [REDIS_GENERATION, REDIS_VERSION, REDIS_LOG_FROM, REDIS_SUPERSEDES]


def _head(answer: list[bytes | None]) -> Head | None:
    generation, version, log_from, supersedes = answer
    if not generation or not generation.isalnum():
        return None
    numbers = [_number(version), _number(log_from), _number(supersedes or b"0")]
    if None in numbers:
        return None
    return Head(generation.decode("ascii", "replace"), *(number or 0 for number in numbers))


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _texts(salts: dict[bytes, bytes]) -> dict[str, str]:
    return {day.decode("utf-8", "replace"): text.decode("utf-8", "replace") for day, text in salts.items()}


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(str(error) or type(error).__name__) from error
