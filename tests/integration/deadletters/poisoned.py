"""A fault in Postgres that decode knows nothing of, its mending, and what the books and tables say."""

from typing import Any

import asyncpg

from shared.events import Event
from tests.ingest_builders import click, postback

BROKEN = b"broken"
"""What decode refuses."""


def poison(**changes: Any) -> Event:
    """A click that Postgres refuses until it is mended."""
    return click(browser="Poison", **changes)


def poison_call(**changes: Any) -> Event:
    """A postback that Postgres refuses until it is mended."""
    return postback(query="poison", **changes)


async def poison_postgres(owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE clicks ADD CONSTRAINT no_poison CHECK (browser <> 'Poison')")
    await owner.execute("ALTER TABLE postbacks ADD CONSTRAINT no_poison CHECK (query <> 'poison')")


async def mend(owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE clicks DROP CONSTRAINT no_poison")
    await owner.execute("ALTER TABLE postbacks DROP CONSTRAINT no_poison")


async def counted(owner: asyncpg.Connection, *tables: str) -> tuple[int, ...]:
    return tuple([await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables])


async def book(owner: asyncpg.Connection, stream: bytes) -> dict[str, int]:
    """The stream's line in the books, which must add up."""
    line = await owner.fetchrow(
        "SELECT next - 1 AS settled, opening, stored, repeated, dead_lettered, discarded, lost FROM stream_positions"
        " WHERE stream = $1",
        stream,
    )
    assert line is not None
    book = dict(line)
    settled = book.pop("settled")
    assert sum(book.values()) == settled
    return {"settled": settled} | {name: value for name, value in book.items() if value}
