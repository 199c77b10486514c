"""Fixtures of the fold tests: the owner's connection to write facts with, and a folding connection with its lease."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from management.db.lease import Lease
from management.db.pool import SoleConnection, connect
from management.fold.batch import CLICKS, POSTBACKS, Folded, fold_batch
from tests.rollup_sums import account_sum_differences


@dataclass(frozen=True, slots=True)
class Folding:
    """A connection of milepost_ingest that holds the lease."""

    connection: SoleConnection
    lease: Lease

    async def batch(self, *, clicks: int = CLICKS, postbacks: int = POSTBACKS) -> Folded:
        return await fold_batch(self.connection, self.lease, click_limit=clicks, postback_limit=postbacks)

    async def all(self) -> None:
        while await self.batch():
            pass


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[SoleConnection]:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


@pytest.fixture
async def folding(owner: SoleConnection, ingest_url: str) -> AsyncIterator[Folding]:
    """Whatever a test folded, the account's roll-ups must be the sums of r15 at its end."""
    connection = await connect(ingest_url, application="test fold")
    yield Folding(connection, await Lease.take(connection, "fold"))
    await connection.close()
    assert await account_sum_differences(owner) == []
