"""Whether Postgres answers, for the health of a service."""

import asyncio

from management.db.pool import UNREACHABLE, Pool


async def answers(pool: Pool, seconds: float) -> bool:
    """One round trip within `seconds`."""
    try:
        async with asyncio.timeout(seconds), pool.acquire(timeout=seconds) as connection:
            await connection.fetchval("SELECT 1")
    except UNREACHABLE:
        return False
    return True
