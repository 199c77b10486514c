"""What management does to Redis, for tests of the edge that have no Postgres: the real publisher, row by row."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from management.publisher import (
    Redis,
    open_redis,
    publish_account,
    publish_campaign,
    publish_changes,
    publish_table,
    wait_propagated,
)
from shared.campaigns import AccountRow, CampaignRow
from tests.integration.edge.harness import Valkey, salts_around_today

Result = TypeVar("Result")


def _with_redis(valkey: Valkey, work: Callable[[Redis], Coroutine[Any, Any, Result]]) -> Result:
    async def run() -> Result:
        client = open_redis(valkey.url)
        try:
            return await work(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def publish(valkey: Valkey, *rows: CampaignRow | AccountRow) -> None:
    """Each row by itself, as the process that changed it does."""

    async def work(client: Redis) -> None:
        for row in rows:
            if isinstance(row, CampaignRow):
                await publish_campaign(client, row)
            else:
                await publish_account(client, row)

    _with_redis(valkey, work)


def tell(valkey: Valkey, row: CampaignRow | AccountRow) -> bool:
    """Publish and wait, as a call of the API does; whether all live edges have it within a second."""

    async def work(client: Redis) -> bool:
        await (publish_campaign(client, row) if isinstance(row, CampaignRow) else publish_account(client, row))
        return await wait_propagated(client, row.version)

    return _with_redis(valkey, work)


def fill(
    valkey: Valkey,
    version: int,
    campaigns: Iterable[CampaignRow],
    accounts: Iterable[AccountRow] = (AccountRow(id=1, version=1),),
    supersedes: int = 0,
) -> None:
    """The whole table, a new generation."""
    tables = {row.id: row for row in campaigns}, {row.id: row for row in accounts}
    salts = salts_around_today()
    _with_redis(valkey, lambda client: publish_table(client, version, *tables, salts, supersedes))


def mend(valkey: Valkey, generation: str, version: int, *rows: CampaignRow | AccountRow) -> bool:
    """As the publisher does when Redis has fallen behind."""
    return _with_redis(valkey, lambda client: publish_changes(client, generation, version, rows, salts_around_today()))
