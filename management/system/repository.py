"""What the system's own routes ask of Postgres. The views give rows to the installation's own account alone."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from management.api.pages import Position
from management.db.pool import UNREACHABLE, Pool, Reading
from management.db.queries import Queries
from management.system.books import Line, line_of

queries = Queries("management.system", "queries.sql")


class Difference(NamedTuple):
    """`records` in no column of the books, `rows` that the tables and the books do not agree on, `lost` in all."""

    records: int
    rows: int
    lost: int


async def is_installation(connection: Reading, account_id: int) -> bool:
    found: bool = await connection.fetchval(queries["is_installation"], account_id)
    return found


async def totals(connection: Reading) -> Mapping[str, Any]:
    row = await connection.fetchrow(queries["books_totals"])
    assert row is not None
    return dict(row)


async def discards(connection: Reading) -> dict[str, int]:
    """Of all streams: reason → records."""
    rows = await connection.fetch(queries["discards"])
    return {row["reason"]: row["records"] for row in rows}


async def page(connection: Reading, after: Position | None, limit: int) -> list[Line]:
    """Newest first, by (begun, stream)."""
    where = (after.ts, after.row_id) if after else (None, None)
    return [line_of(dict(row)) for row in await connection.fetch(queries["books_page"], *where, limit)]


async def difference(pool: Pool, seconds: float) -> Difference | None:
    """Of all streams, for a process that speaks for no account; None when Postgres does not say within `seconds`."""
    try:
        async with asyncio.timeout(seconds), pool.acquire(timeout=seconds) as connection:
            row = await connection.fetchrow(queries["books_difference"])
    except UNREACHABLE:
        return None
    return None if row is None else Difference(**row)
