"""What the publisher makes of Postgres and Redis together: when it sends what changed, when everything, and when it
says that a lower version is the right one. A real Postgres and a real Valkey.

What edges make of it is in integration/edge; the process `milepost jobs` in tests/e2e.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from management.campaigns.routing import campaign_row
from management.db.pool import SoleConnection
from management.jobs import loop, repository
from management.publisher import (
    FORGET_MS,
    LIVE_MS,
    Redis,
    RoutingUnavailable,
    open_redis,
    publish_campaign,
    published,
    wait_propagated,
)
from shared.campaigns import (
    REDIS_ACCOUNTS,
    REDIS_CAMPAIGNS,
    REDIS_EDGES,
    REDIS_LOG,
    REDIS_LOG_FROM,
    REDIS_SALTS,
    REDIS_SUPERSEDES,
    REDIS_VERSION,
    AccountRow,
    CampaignRow,
)
from tests.builders import store_account, store_campaign
from tests.integration.edge.harness import Valkey


@pytest.fixture
async def owner(owner: asyncpg.Connection) -> asyncpg.Connection:
    """With an account, a campaign and salts at version 1."""
    await store_account(owner, id=1, public_id="acc_1", routing_version=1)
    await store_campaign(owner, 1, routing_version=1, name="first")
    await owner.execute("INSERT INTO salts (day, salt) VALUES (current_date, sha256('x'))")
    await owner.execute("UPDATE routing_version SET version = 1")
    return owner


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = open_redis(valkey.url)
    yield client
    await client.aclose()


async def raised(owner: asyncpg.Connection) -> int:
    version: int = await owner.fetchval("UPDATE routing_version SET version = version + 1 RETURNING version")
    return version


async def changed(owner: asyncpg.Connection, name: str) -> int:
    """A change of the campaign that nobody published; its version."""
    version = await raised(owner)
    await owner.execute("UPDATE campaigns SET name = $1, routing_version = $2 WHERE id = 1", name, version)
    return version


async def campaign(redis: Redis, number: int = 1) -> CampaignRow | None:
    text: Any = await redis.hget(REDIS_CAMPAIGNS, str(number))
    return None if text is None else CampaignRow.from_json(text)


async def report(redis: Redis, version: int, silent_ms: int = 0, worker: str = "edge") -> None:
    seconds, microseconds = await redis.time()
    at = seconds * 1000 + microseconds // 1000 - silent_ms
    await redis.hset(REDIS_EDGES, worker, orjson.dumps({"version": version, "generation": "x", "at": at}))


async def test_an_empty_redis_gets_the_whole_table_at_once_and_nothing_twice(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    assert await loop.publish(connection, redis)
    assert not await loop.publish(connection, redis)
    there = await published(redis)
    assert (there.version, there.supersedes) == (1, 0)
    assert await redis.hlen(REDIS_CAMPAIGNS) == await redis.hlen(REDIS_ACCOUNTS) == await redis.hlen(REDIS_SALTS) == 1
    assert await redis.get(REDIS_LOG_FROM) == b"1"
    found: Any = await redis.keys("*")
    keys = {key.decode() for key in found}
    assert not any(there.generation in key for key in keys if there.generation), "no draft is left"
    assert {await redis.ttl(key) for key in keys} == {-1}, "nothing of it ends by itself"


async def test_what_changed_is_repeated_within_the_generation(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    before = await published(redis)
    version = await changed(owner, "second")
    await owner.execute("UPDATE accounts SET status = 'suspended', routing_version = $1", await raised(owner))
    assert await loop.publish(connection, redis)
    after = await published(redis)
    assert (after.generation, after.version) == (before.generation, version + 1)
    found = await campaign(redis)
    assert found is not None
    assert found.name == "second"
    text: Any = await redis.hget(REDIS_ACCOUNTS, "1")
    assert AccountRow.from_json(text).status == "suspended"
    assert await redis.zrange(REDIS_LOG, 0, -1, withscores=True) == [(b"c:1", version), (b"a:1", version + 1)]
    assert not await loop.publish(connection, redis)


async def test_a_new_salt_is_a_change_without_rows(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    before = await published(redis)
    await owner.execute("INSERT INTO salts (day, salt) VALUES (current_date + 1, sha256('y'))")
    version = await raised(owner)
    assert await loop.publish(connection, redis)
    after = await published(redis)
    assert (after.generation, after.version) == (before.generation, version)
    assert await redis.hlen(REDIS_SALTS) == 2
    assert await redis.zcard(REDIS_LOG) == 0


async def test_a_lost_row_before_a_published_one_is_repeated(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    other = await store_campaign(owner, 1, routing_version=await raised(owner), name="lost")  # a crash after commit
    await changed(owner, "published")
    (row,) = await owner.fetch("SELECT * FROM campaigns WHERE id = 1")
    await publish_campaign(redis, campaign_row(row))
    assert await redis.get(REDIS_VERSION) == b"1", "the gap is not jumped over"
    assert await loop.publish(connection, redis)
    assert (await published(redis)).version == 3
    assert await campaign(redis, other) is not None


async def test_after_many_changes_the_whole_table_is_written(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_CHANGES", 3)
    await loop.publish(connection, redis)
    before = await published(redis)
    for number in range(3):
        await store_campaign(owner, 1, routing_version=await raised(owner), name=f"{number}")
    assert await loop.publish(connection, redis)
    assert (await published(redis)).generation == before.generation
    for number in range(4):
        await store_campaign(owner, 1, routing_version=await raised(owner), name=f"{number}")
    assert await loop.publish(connection, redis)
    after = await published(redis)
    assert after.generation != before.generation
    assert (after.version, await redis.hlen(REDIS_CAMPAIGNS)) == (8, 8)


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_postgres_that_came_back_older_is_the_truth(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis, flushed: bool
) -> None:
    lost = await changed(owner, "lost")
    await loop.publish(connection, redis)
    await report(redis, lost)
    before = await published(redis)
    await owner.execute("UPDATE campaigns SET name = 'restored', routing_version = 1")
    await owner.execute("UPDATE routing_version SET version = 1")
    if flushed:
        await redis.flushall()
        assert await loop.publish(connection, redis), "filled, before any edge has said what it holds"
        await report(redis, lost)
    assert await loop.publish(connection, redis)
    after = await published(redis)
    assert after.generation != before.generation
    assert (after.version, after.supersedes) == (1, lost)
    found = await campaign(redis)
    assert found is not None
    assert found.name == "restored"
    assert not await loop.publish(connection, redis), "said once, also while an edge still reports the lost version"


async def test_an_edge_ahead_of_a_redis_that_agrees_with_postgres_is_told(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    """Redis and Postgres both lost their last changes; only an edge has them."""
    await loop.publish(connection, redis)
    await report(redis, 2, silent_ms=LIVE_MS + 1)
    assert not await loop.publish(connection, redis), "nobody knows of one that is silent"
    await report(redis, 2)
    assert await loop.publish(connection, redis)
    assert await redis.get(REDIS_SUPERSEDES) == b"2"
    assert not await loop.publish(connection, redis)


async def test_a_redis_that_was_flushed_or_restored_is_filled_again(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    first = await published(redis)
    yesterday: dict[Any, Any] = {key: await redis.dump(key) for key in await redis.keys("*")}
    version = await changed(owner, "today")
    await loop.publish(connection, redis)
    await redis.flushall()
    assert await loop.publish(connection, redis)
    assert (await published(redis)).generation != first.generation
    await redis.flushall()
    for key, value in yesterday.items():
        await redis.restore(key, 0, value)
    assert await loop.publish(connection, redis)
    after = await published(redis)
    assert (after.generation, after.version) == (first.generation, version)
    found = await campaign(redis)
    assert found is not None
    assert found.name == "today"


async def test_a_deleted_campaign_is_told_and_stays_until_its_window_ends(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    await owner.execute("UPDATE campaigns SET deleted_at = now(), routing_version = $1", await raised(owner))
    await loop.publish(connection, redis)
    for _ in range(2):
        found = await campaign(redis)
        assert found is not None
        assert found.status == "deleted"
        await redis.flushall()
        await loop.publish(connection, redis)
    await owner.execute("UPDATE campaigns SET deleted_at = now() - interval '721 hours'")
    await redis.flushall()
    await loop.publish(connection, redis)
    assert await campaign(redis) is None


async def test_edges_count_as_live_by_the_clock_of_redis_and_are_forgotten(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    assert not await wait_propagated(redis, 1, 0.1), "no edge has it"
    await report(redis, 5, worker="live")
    await report(redis, 1, silent_ms=LIVE_MS + 1, worker="dead")
    await report(redis, 1, silent_ms=FORGET_MS + 1, worker="long dead")
    assert await wait_propagated(redis, 5)
    await loop.publish(connection, redis)
    assert sorted(await redis.hkeys(REDIS_EDGES)) == [b"dead", b"live"]


async def test_a_redis_that_is_away_or_hangs_is_said_in_time(redis: Redis, valkey: Valkey) -> None:
    row = CampaignRow(id=1, uuid="u", account_id=1, version=1, name="n")
    valkey.pause()
    began = time.monotonic()
    with pytest.raises(RoutingUnavailable):
        await publish_campaign(redis, row)
    assert not await wait_propagated(redis, 1)
    assert time.monotonic() - began < 4
    valkey.kill()
    with pytest.raises(RoutingUnavailable):
        await publish_campaign(redis, row)
    assert not await wait_propagated(redis, 1)


async def test_changes_of_several_processes_at_once_all_arrive(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis
) -> None:
    await loop.publish(connection, redis)
    generation = (await published(redis)).generation
    for _ in range(5):
        numbers = [await store_campaign(owner, 1, routing_version=await raised(owner), name="x") for _ in range(20)]
        rows = [campaign_row(row) for row in await owner.fetch("SELECT * FROM campaigns WHERE id = ANY($1)", numbers)]
        await asyncio.gather(*(publish_campaign(redis, row) for row in reversed(rows)))
    after = await published(redis)
    assert (after.version, after.generation) == (101, generation)
    assert not await loop.publish(connection, redis), "nothing was left to repeat"
    assert await redis.hlen(REDIS_CAMPAIGNS) == 101


async def test_a_change_between_two_looks_is_no_lost_history(
    connection: SoleConnection, owner: asyncpg.Connection, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loop.publish(connection, redis)
    generation = (await published(redis)).generation
    ask = repository.routing_version

    async def meanwhile(connection: SoleConnection) -> int:
        version = await ask(connection)
        await changed(owner, "meanwhile")
        (row,) = await owner.fetch("SELECT * FROM campaigns WHERE id = 1")
        await publish_campaign(redis, campaign_row(row))
        return version

    monkeypatch.setattr(repository, "routing_version", meanwhile)
    await loop.publish(connection, redis)
    monkeypatch.undo()
    assert not await loop.publish(connection, redis)
    assert (await published(redis)).generation == generation
