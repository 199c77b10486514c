"""Covers declared losses in Postgres: the greatest count of each stream is kept, for ingest alone to see.

When they are stored, and that no stream goes before, is in test_journal_source.py.
"""

import asyncpg
import pytest

from management.db.lease import Lease
from management.db.pool import connect
from management.ingest.writer import Writer

A, B = b"a" * 16, b"b" * 16


async def test_the_greatest_count_of_each_stream_is_kept(ingest_url: str, database_url: str) -> None:
    connection = await connect(ingest_url, application="test ingest")
    owner = await asyncpg.connect(database_url)
    try:
        writer = await Writer.open(connection, await Lease.take(connection, "ingest"))

        async def stored() -> dict[bytes, int]:
            return {row["stream"]: row["clicks"] for row in await owner.fetch("SELECT * FROM declared_losses")}

        await writer.store_losses({A: 3, B: 70_000_000_000})
        assert await stored() == {A: 3, B: 70_000_000_000}
        before = await owner.fetchval("SELECT updated_at FROM declared_losses WHERE stream = $1", A)
        await writer.store_losses({A: 3})
        await writer.store_losses({A: 2, B: 1})
        assert await stored() == {A: 3, B: 70_000_000_000}
        assert await owner.fetchval("SELECT updated_at FROM declared_losses WHERE stream = $1", A) == before
        await writer.store_losses({A: 4})
        assert await stored() == {A: 4, B: 70_000_000_000}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM declared_losses")
        async with owner.transaction():
            await owner.execute("SET LOCAL ROLE milepost_app")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with owner.transaction():
                    await owner.fetch("SELECT * FROM declared_losses")
    finally:
        connection.terminate()
        await owner.close()
