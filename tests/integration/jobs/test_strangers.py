"""The sweep that keeps what strangers sent from filling Postgres: its two bounds, and what it may delete at once.

That the process `milepost jobs` runs at all is tests/e2e; how the rows come is tests/integration/ingest.
"""

from datetime import timedelta

import asyncpg
import pytest

from edge.budget import WORKER_STRANGERS
from management.db.pool import SoleConnection
from management.jobs import loop, repository


async def store(owner: asyncpg.Connection, rows: int, age: timedelta = timedelta(0)) -> None:
    """Rows that arrived `age` ago; the edge's clock is a year ahead."""
    await owner.execute(
        "INSERT INTO strangers (id, ts, stored_at, reason, method, path, query, ip, user_agent, referrer, stream, seq)"
        " SELECT sha224(convert_to(clock_timestamp()::text || n, 'UTF8')), now() + interval '1 year', now() - $2::interval,"
        " 70, 'GET', '/c/x', '', '', '', '', 's', n FROM generate_series(1, $1::integer) AS n",
        rows,
        age,
    )


async def left(owner: asyncpg.Connection) -> list[int]:
    return [row["number"] for row in await owner.fetch("SELECT number FROM strangers ORDER BY number")]


async def test_an_empty_table_is_no_trouble(connection: SoleConnection, owner: asyncpg.Connection) -> None:
    await repository.forget_strangers(connection)
    assert await left(owner) == []


async def test_the_upkeep_forgets_what_is_older_than_thirty_days(
    connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await store(owner, 3, timedelta(days=31))
    await store(owner, 2, timedelta(days=30, minutes=1))
    await store(owner, 4, timedelta(days=29, hours=23))
    await loop.upkeep(connection)
    assert await left(owner) == [6, 7, 8, 9]


async def test_only_the_newest_stay(
    connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "STRANGER_ROWS", 5)
    await store(owner, 12)
    await repository.forget_strangers(connection)
    assert await left(owner) == [8, 9, 10, 11, 12]
    await store(owner, 1)
    await repository.forget_strangers(connection)
    assert await left(owner) == [9, 10, 11, 12, 13]


async def test_one_sweep_deletes_a_bounded_number_and_the_oldest_first(
    connection: SoleConnection, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "STRANGERS_AT_ONCE", 4)
    await store(owner, 6, timedelta(days=40))
    await store(owner, 2)
    await repository.forget_strangers(connection)
    assert await left(owner) == [5, 6, 7, 8]
    await repository.forget_strangers(connection)
    assert await left(owner) == [7, 8]


def test_a_sweep_forgets_more_than_eight_workers_may_keep_until_the_next() -> None:
    assert repository.STRANGERS_AT_ONCE >= 8 * WORKER_STRANGERS * loop.UPKEEP_SECONDS
