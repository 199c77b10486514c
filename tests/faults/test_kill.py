"""Covers the first promise with real processes: kill -9 of every part in turn, under load, and then answered =
counted. Also its two walls: records that come again under another stream, and a writer that believes an old
position. `python -m tests.faults.mutants` shows that each mechanism's removal makes this file fail.

Leaves to others: faults of the disk and of a broker; one part's own recovery (tests/integration)."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from management.db.lease import Lease
from management.db.pool import INGEST_ROLE, connect, role_url
from management.ingest.batch import StreamRead, batch_of
from management.ingest.writer import PositionMoved, Writer
from shared.ids import KeyRing
from shared.journal import JournalWriter, StreamReader, stream_id, streams
from tests.faults.judge import judge
from tests.faults.load import Ledger, visit
from tests.stack import Stack, answers, api, running

CLIENTS = 16
ROUNDS = 2
VICTIMS = ("edge-0", "ingest", "edge-0", "fold", "postgres", "edge-0", "valkey", "api")
DESTINATION = "https://shop.example/landing?clickid={clickid}"


async def settled(stack: Stack) -> None:
    """Wait until nothing is on its way any more: no delta left and two looks at the rows agree."""
    deadline = time.monotonic() + 60
    last = None
    async with stack.database() as connection:
        while True:
            (row,) = await connection.fetch(
                "SELECT (SELECT count(*) FROM clicks), (SELECT count(*) FROM postbacks),"
                " (SELECT count(*) FROM click_deltas) + (SELECT count(*) FROM postback_deltas),"
                " (SELECT count(*) FROM conversions WHERE NOT attached)"
            )
            now = tuple(row)
            # At the deadline the judge says what is missing.
            if (now == last and now[2:] == (0, 0)) or time.monotonic() > deadline:
                return
            last = now
            await asyncio.sleep(1.0)


async def wait_api(stack: Stack) -> None:
    deadline = time.monotonic() + 30
    while not answers(stack.api_port, "/readyz"):
        assert time.monotonic() < deadline, "the API did not recover"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_killing_every_part_under_load_loses_and_doubles_nothing(tmp_path: Path, durability: str) -> None:
    chance = random.Random(20_260_102)
    with running(tmp_path / "data", DURABILITY=durability) as stack:
        async with api(stack) as client:
            campaign = await client.campaign(destination_url=DESTINATION, cost_model="cpc", cost_value=0.5)
            ledger, stop = Ledger(), asyncio.Event()
            clients = [
                asyncio.create_task(visit(stack.edge_url, campaign["uuid"], ledger, stop, seed))
                for seed in range(CLIENTS)
            ]
            kills = 0
            for _ in range(ROUNDS):
                for part in chance.sample(VICTIMS, len(VICTIMS)):
                    await asyncio.sleep(chance.uniform(0.3, 1.0))
                    before = len(ledger.clicks)
                    deadline = time.monotonic() + 20
                    while ledger.in_flight == 0 or len(ledger.clicks) == before or stack.running_pid(part) is None:
                        assert time.monotonic() < deadline, "no load: the kill would prove nothing"
                        await asyncio.sleep(0.001)
                    pid = stack.kill(part)
                    kills += 1
                    await stack.wait_restarted(part, pid)
            await asyncio.sleep(0.5)
            stop.set()
            await asyncio.gather(*clients)
            await wait_api(stack)
            await settled(stack)
            await replay_a_stream(stack)
            await store_from_an_old_position(stack)
            await settled(stack)
            async with stack.database() as connection:
                verdict = await judge(connection, campaign["id"], ledger)
            stats = await client.stats(campaign["id"])
            assert verdict.faults() == {}, (verdict, stack.output()[-2000:])
            assert kills >= 12
            assert verdict.answered > 500, "too little load to prove anything"
            assert set(ledger.refused) <= {503}, ledger.refused
            assert stats["clicks"] == verdict.stored
            assert stats["real_clicks"] + stats["bot_clicks"] + stats["vpn_clicks"] == stats["clicks"]
        assert stack.stop() == 0


def longest_stream(stack: Stack) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """The stream with most records, and its records."""
    found = {}
    for path in streams(stack.data_dir / "journal"):
        with StreamReader(path) as reader:
            found[stream_id(path)] = list(reader.read(200_000, 1 << 30).records)
    stream = max(found, key=lambda name: len(found[name]))
    assert len(found[stream]) > 100
    return stream, found[stream]


async def store_from_an_old_position(stack: Stack) -> None:
    """Be an ingest that rightly has the lease and wrongly believes that its stream is still at the beginning."""
    stream, records = longest_stream(stack)
    ring = KeyRing.from_text((stack.data_dir / "secrets" / "keys").read_text())
    connection = await connect(role_url(stack.owner_url(), INGEST_ROLE, ring), application="test")
    try:
        writer = await Writer.open(connection, await Lease.take(connection, "ingest"))
        stale = StreamRead(stream, begins=1, next_seq=2, known=True, records=records[:1])
        with pytest.raises(PositionMoved):
            await writer.store(batch_of([stale]))
    finally:
        await connection.close()


async def replay_a_stream(stack: Stack) -> None:
    """Put the records of the longest journal back under a new stream, as a restored backup would."""
    _, records = longest_stream(stack)
    journal = stack.data_dir / "journal"
    writer = JournalWriter.open(journal, "os", on_failure=lambda error: pytest.fail(str(error)))
    await asyncio.gather(*(writer.append(kind, payload) for _, kind, payload in records))
    await writer.close()
    deadline = time.monotonic() + 30
    async with stack.database() as connection:
        while True:
            position = await connection.fetchval("SELECT next FROM stream_positions WHERE stream = $1", writer.stream)
            if position == len(records) + 1:
                return
            assert time.monotonic() < deadline, f"the copy was read up to {position} of {len(records)}"
            await asyncio.sleep(0.1)
