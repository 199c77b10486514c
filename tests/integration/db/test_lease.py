"""Covers the lease on a real Postgres: one holder, takeover from a holder that hangs, who stands by. What the writers
make of it is tested beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from management.db import lease as lease_module
from management.db.lease import Lease, LeaseLost, holder_is_alive
from management.db.pool import SoleConnection, connect


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[SoleConnection]:
    connection = await connect(url, application="test lease")
    try:
        yield connection
    finally:
        connection.terminate()


async def test_whoever_takes_it_last_has_it_and_the_other_is_ended(ingest_url: str) -> None:
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        old = await Lease.take(first, "fold")
        new = await Lease.take(second, "fold")
        assert new.epoch == old.epoch + 1
        async with second.transaction():
            await new.check(second)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await first.fetchval("SELECT 1")


async def test_leases_of_other_names_are_left_alone(ingest_url: str) -> None:
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        fold = await Lease.take(first, "fold")
        await Lease.take(second, "ingest")
        await fold.beat(first)


async def test_a_former_holder_on_a_new_connection_is_refused(ingest_url: str) -> None:
    async with connected(ingest_url) as first, connected(ingest_url) as second, connected(ingest_url) as third:
        old = await Lease.take(first, "fold")
        new = await Lease.take(second, "fold")
        with pytest.raises(LeaseLost, match="epoch 1 was held, 2 is the present one"):
            async with third.transaction():
                await old.check(third)
        with pytest.raises(LeaseLost):
            await old.beat(third)
        with pytest.raises(LeaseLost):
            await old.resume(third)
        async with second.transaction():  # and it ended nobody
            await new.check(second)


async def test_after_a_reconnect_the_holder_goes_on_and_its_old_connection_is_ended(ingest_url: str) -> None:
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        lease = await Lease.take(first, "fold")
        resumed = await lease.resume(second)
        assert resumed.epoch == lease.epoch + 1
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await first.fetchval("SELECT 1")


async def test_a_holder_that_hangs_in_a_checked_transaction_is_not_waited_for(ingest_url: str) -> None:
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        old = await Lease.take(first, "fold")
        hanging = first.transaction()
        await hanging.start()
        await old.check(first)
        new = await asyncio.wait_for(Lease.take(second, "fold"), 5)
        assert new.epoch == old.epoch + 1


async def test_a_checked_transaction_commits_before_the_epoch_rises(
    ingest_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A backend that survives the attempt to end it, as one that is just committing does.
    spared = dict(lease_module.queries.statements, end_holder="SELECT $1::text, $2::int, $3::bigint")
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        old = await Lease.take(first, "fold")
        monkeypatch.setattr(lease_module.queries, "statements", spared)
        async with first.transaction():
            await old.check(first)
            taking = asyncio.create_task(Lease.take(second, "fold"))
            await asyncio.sleep(0.3)
            assert not taking.done()
        assert (await asyncio.wait_for(taking, 5)).epoch == old.epoch + 1
        with pytest.raises(LeaseLost):
            async with first.transaction():
                await old.check(first)


async def test_a_recycled_pid_is_not_hit(ingest_url: str, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    async with connected(ingest_url) as bystander, connected(ingest_url) as taker:
        await Lease.take(taker, "fold")
        await owner.execute("UPDATE leases SET backend_pid = $1", bystander.get_server_pid())
        async with connected(ingest_url) as other:
            await Lease.take(other, "fold")
        assert await bystander.fetchval("SELECT 1") == 1
    await owner.close()


async def test_of_many_that_take_it_at_once_one_has_it(ingest_url: str) -> None:
    connections = [await connect(ingest_url, application="test lease") for _ in range(8)]
    taken = await asyncio.gather(*(Lease.take(each, "fold") for each in connections), return_exceptions=True)
    working = []
    for connection, lease in zip(connections, taken, strict=True):
        try:
            if isinstance(lease, Lease):
                await lease.beat(connection)
                working.append(lease)
        except (LeaseLost, asyncpg.PostgresError, asyncpg.InterfaceError):
            continue
    for connection in connections:
        connection.terminate()
    assert len(working) == 1
    assert working[0].epoch == max(lease.epoch for lease in taken if isinstance(lease, Lease))


async def test_a_holder_lives_as_long_as_it_says_something(ingest_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "SILENT_SECONDS", 0.6)
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        assert not await holder_is_alive(second, "fold")
        lease = await Lease.take(first, "fold")
        assert not await holder_is_alive(first, "fold"), "the asker itself does not count"
        for _ in range(4):
            await asyncio.sleep(0.3)
            await lease.beat(first)
            assert await holder_is_alive(second, "fold")
        await asyncio.sleep(0.8)
        assert not await holder_is_alive(second, "fold")


async def test_a_holder_whose_statement_is_at_work_is_alive_however_long_it_takes(
    ingest_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "SILENT_SECONDS", 0.3)
    async with connected(ingest_url) as first, connected(ingest_url) as second:
        await Lease.take(first, "fold")
        working = asyncio.create_task(first.execute("SELECT pg_sleep(1.5)"))
        await asyncio.sleep(0.8)
        assert await holder_is_alive(second, "fold")
        await working
