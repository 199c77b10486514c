"""The sweep of dead letters: what it gives up, what it keeps, and that the books say so."""

from datetime import timedelta

import asyncpg

from management.db.pool import SoleConnection
from management.deadletters import repository
from management.jobs import loop
from tests.integration.deadletters.poisoned import book

A, B = b"a" * 16, b"b" * 16


async def bury(owner: asyncpg.Connection, stream: bytes, *ages: timedelta) -> None:
    """A stream of nothing but letters, `ages` ago."""
    await owner.execute(
        "INSERT INTO stream_positions (stream, next, dead_lettered) VALUES ($1, $2, $3)",
        *(stream, len(ages) + 1, len(ages)),
    )
    for seq, age in enumerate(ages, 1):
        await owner.execute(
            "INSERT INTO dead_letters (stream, seq, kind, payload, reason, number, created_at)"
            " VALUES ($1, $2, 1, '', '', 0, now() - $3::interval)",
            *(stream, seq, age),
        )


async def left(owner: asyncpg.Connection, stream: bytes) -> list[int]:
    rows = await owner.fetch("SELECT seq FROM dead_letters WHERE stream = $1 ORDER BY seq", stream)
    return [row["seq"] for row in rows]


async def test_what_is_older_than_thirty_days_is_given_up_and_booked(
    connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    old, young = timedelta(days=30, minutes=1), timedelta(days=29, hours=23)
    await bury(owner, A, old, young, old, timedelta(0))
    await bury(owner, B, young)
    await loop.upkeep(connection)
    assert await left(owner, A) == [2, 4]
    assert await book(owner, A) == {"settled": 4, "dead_lettered": 2, "discarded": 2}
    assert [tuple(row) for row in await owner.fetch("SELECT * FROM stream_discards")] == [(A, "expired dead letter", 2)]
    assert await left(owner, B) == [1]
    assert await book(owner, B) == {"settled": 1, "dead_lettered": 1}
    await loop.upkeep(connection)
    assert await book(owner, A) == {"settled": 4, "dead_lettered": 2, "discarded": 2}


async def test_one_sweep_takes_a_bounded_number_and_the_oldest_first(
    connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await bury(owner, A, *[timedelta(days=40)] * 5)
    await repository.forget(connection, timedelta(days=30), 10, 3)
    assert await left(owner, A) == [4, 5]
    await repository.forget(connection, timedelta(days=30), 10, 3)
    assert await left(owner, A) == []


async def test_a_letter_that_is_being_redriven_is_left_alone(
    connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await bury(owner, A, timedelta(days=40), timedelta(days=40))
    async with owner.transaction():
        await owner.execute("SELECT FROM dead_letters WHERE seq = 1 FOR UPDATE")
        await repository.forget(connection, timedelta(days=30), 10, 10)
    assert await left(owner, A) == [1]
    assert await book(owner, A) == {"settled": 2, "dead_lettered": 1, "discarded": 1}
