"""Covers whole `milepost ingest` processes on real files and a real Postgres: each record once through kills, freezes,
cut wires and restarts; who works when two start; how soon a click is there. One batch alone is test_writer.py."""

import asyncio
import random
import signal
import time
from pathlib import Path

import asyncpg

from management.db.lease import SILENT_SECONDS
from shared.events import Event
from shared.journal import JournalWriter
from tests.ingest_builders import append, click, payload, postback, stranger, write_stream
from tests.ingest_process import IngestProcess, Start, Wire, until_count

VISIBLE_SECONDS = 2.0
"""The contract: how soon after its answer a click is in the figures of an idle machine."""


async def assert_exactly_once(
    owner: asyncpg.Connection, clicks: int, postbacks: int, streams: dict[bytes, int], strangers: int = 0
) -> None:
    """Rows and effects are as many as were journaled, and the positions say that nothing is left."""
    found = {
        table: await owner.fetchval(f"SELECT count(*) FROM {table}")
        for table in (
            "clicks", "click_deltas", "postbacks", "postback_deltas", "strangers", "dead_letters", "lost_records",
        )
    }  # fmt: skip
    assert found == {
        "clicks": clicks, "click_deltas": clicks, "postbacks": postbacks, "postback_deltas": postbacks,
        "strangers": strangers, "dead_letters": 0, "lost_records": 0,
    }  # fmt: skip
    places = await owner.fetchval(
        "SELECT count(DISTINCT (stream, seq)) FROM (SELECT stream, seq FROM clicks UNION ALL"
        " SELECT stream, seq FROM postbacks UNION ALL SELECT stream, seq FROM strangers) AS facts"
    )
    assert places == clicks + postbacks + strangers
    rows = await owner.fetch("SELECT stream, next FROM stream_positions")
    assert {row["stream"]: row["next"] for row in rows} == streams


async def stop_inside_a_transaction(process: IngestProcess, owner: asyncpg.Connection, chance: random.Random) -> None:
    """Leaves the process frozen, its backend inside a transaction of a batch that is not committed yet."""
    async with asyncio.timeout(20):
        while True:
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(0.02)  # what the server can do by itself, it has done
            if await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost ingest' AND"
                " (state = 'idle in transaction' OR state = 'active' AND wait_event = 'ClientRead')"
            ):
                return
            process.signal(signal.SIGCONT)
            await asyncio.sleep(chance.random() * 0.05)


async def test_kills_in_mid_batch_while_a_worker_writes(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    stop = asyncio.Event()
    written: dict[bytes, int] = {}
    clicks = postbacks = strangers = 0

    async def work() -> None:
        """Lives of a worker, each a stream: bursts of clicks, postbacks and strangers until told to stop."""
        nonlocal clicks, postbacks, strangers
        while not stop.is_set():
            failures: list[BaseException] = []
            writer = JournalWriter.open(data_dir / "journal", "os", segment_bytes=1 << 20, on_failure=failures.append)
            for _ in range(chance.randrange(5, 60)):
                for _ in range(chance.randrange(1, 120)):
                    kind = chance.random()
                    if kind < 0.05:
                        await append(writer, postback())
                        postbacks += 1
                    elif kind < 0.1:
                        await append(writer, stranger())
                        strangers += 1
                    else:
                        await append(writer, click())
                        clicks += 1
                await asyncio.sleep(chance.random() * 0.04)
            written[writer.stream] = writer.next_seq
            await writer.close()
            assert failures == []

    working = asyncio.create_task(work())
    for _ in range(10):
        process = start()
        await process.until("ingest_works")
        await asyncio.sleep(chance.random() * 0.2)
        await stop_inside_a_transaction(process, owner, chance)
        process.signal(signal.SIGKILL)
        await process.ended()
    stop.set()
    await working
    last = start()
    await until_count(owner, "clicks", clicks)
    await until_count(owner, "postbacks", postbacks)
    await until_count(owner, "strangers", strangers)
    last.signal(signal.SIGTERM)
    assert await last.ended() == 0
    await assert_exactly_once(owner, clicks, postbacks, written, strangers)
    assert clicks > 2000, f"too little was written to mean anything (seed {seed})"


async def test_a_wire_that_breaks_at_every_kind_of_place(
    start: Start, data_dir: Path, owner: asyncpg.Connection, database_url: str
) -> None:
    events: list[Event | bytes] = [click() if number % 20 else postback() for number in range(3000)]
    streams = {
        await write_stream(data_dir / "journal", events[first : first + 1000]): 1001 for first in (0, 1000, 2000)
    }
    async with Wire.to(database_url) as wire:
        # From the log-in over the COPY (about 2.4 MB) to the commit and beyond.
        for cut_after in (100, 2_000, 60_000, 1_000_000):
            wire.cut_after = cut_after
            before = wire.connections
            process = start(url=wire.url)
            async with asyncio.timeout(20):
                while wire.connections < before + 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            process.clean_up()
        assert await owner.fetchval("SELECT count(*) FROM clicks") == 0
        wire.cut_after = None
        process = start(url=wire.url)
        chance = random.Random(5)
        # A few times only: the pause before each new attempt doubles while nothing gets through.
        for _ in range(5):
            seen = wire.connections
            await asyncio.sleep(chance.random() * 0.25)
            wire.cut()
            async with asyncio.timeout(20):
                while wire.connections == seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await until_count(owner, "clicks", 2850)
        wire.cut()
        late = await write_stream(data_dir / "journal", [click()])
        await until_count(owner, "clicks", 2851)
        assert process.said("ingest_interrupted") >= 1
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        await assert_exactly_once(owner, 2851, 150, streams | {late: 2})


async def test_a_holder_frozen_inside_copy_is_taken_over_and_gives_way(
    start: Start, data_dir: Path, owner: asyncpg.Connection, database_url: str
) -> None:
    streams: dict[bytes, int] = {}
    in_copy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost ingest' AND state = 'active'"
        " AND query LIKE 'COPY %' AND wait_event = 'ClientRead'"
    )
    frozen = start()
    await frozen.until("ingest_works")
    # Another backlog, until the process is caught with its backend waiting for the rest of a COPY.
    caught = False
    while not caught:
        assert len(streams) < 20, "it was never caught inside a COPY"
        streams |= {await write_stream(data_dir / "journal", [click() for _ in range(6000)]): 6001}
        stored = 6000 * len(streams)
        while not caught and await owner.fetchval("SELECT count(*) FROM clicks") < stored:
            frozen.signal(signal.SIGSTOP)
            await asyncio.sleep(0.01)
            caught = bool(await owner.fetchval(in_copy))
            if not caught:
                frozen.signal(signal.SIGCONT)
                await asyncio.sleep(0.001)
    second = start()
    began = time.monotonic()
    await second.until("ingest_works")
    assert time.monotonic() - began < SILENT_SECONDS + 3
    await until_count(owner, "clicks", stored)
    frozen.signal(signal.SIGCONT)
    assert await frozen.ended() == 3
    assert frozen.said("another_ingest_took_over") == 1
    streams |= {await write_stream(data_dir / "journal", [click()]): 2}
    await until_count(owner, "clicks", stored + 1)
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0
    await assert_exactly_once(owner, stored + 1, 0, streams)


async def test_the_second_to_start_stands_by_and_works_when_the_first_is_gone(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    first = start()
    await first.until("ingest_works")
    second = start()
    await second.until("standing_by")
    await asyncio.sleep(SILENT_SECONDS + 1)  # an idle holder keeps showing life
    assert (first.popen.poll(), second.said("ingest_works")) == (None, 0)
    first.signal(signal.SIGKILL)
    await second.until("ingest_works")
    stream = await write_stream(data_dir / "journal", [click()])
    await until_count(owner, "clicks", 1)
    await assert_exactly_once(owner, 1, 0, {stream: 2})
    third = start()
    await third.until("standing_by")
    third.signal(signal.SIGTERM)
    assert await third.ended() == 0, "it can be stopped while it waits"


async def test_it_starts_before_postgres_is_there(start: Start, data_dir: Path, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("ALTER ROLE milepost_ingest NOLOGIN")
    try:
        process = start()
        await process.until("ingest_interrupted")
        await asyncio.sleep(1)
        assert process.said("ingest_interrupted") == 1, "one line for one trouble"
    finally:
        await owner.execute("ALTER ROLE milepost_ingest LOGIN")
    await process.until("ingest_works")
    await write_stream(data_dir / "journal", [click()])
    await until_count(owner, "clicks", 1)
    await process.until("ingest_goes_on")
    await owner.close()


async def test_asked_to_stop_it_stores_what_the_journals_hold(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    process = start()
    await process.until("ingest_works")
    process.signal(signal.SIGSTOP)
    stream = await write_stream(data_dir / "journal", [click() for _ in range(12_000)])
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    assert await process.ended(15) == 0
    await assert_exactly_once(owner, 12_000, 0, {stream: 12_001})


async def test_asked_to_stop_without_postgres_it_stops(start: Start, owner: asyncpg.Connection) -> None:
    process = start(url="postgresql://postgres:x@127.0.0.1:1/nowhere")
    await process.until("ingest_interrupted")
    process.signal(signal.SIGTERM)
    assert await process.ended(8) == 0


async def test_an_idle_ingest_stores_each_click_within_the_promised_time(
    start: Start, data_dir: Path, owner: asyncpg.Connection
) -> None:
    process = start()
    await process.until("ingest_works")
    failures: list[BaseException] = []
    writer = JournalWriter.open(data_dir / "journal", "fsync", on_failure=failures.append)
    for number in range(1, 21):
        await writer.append(1, payload(click()))
        async with asyncio.timeout(VISIBLE_SECONDS):
            await until_count(owner, "clicks", number)
        await asyncio.sleep(0.03)
    await writer.close()
    assert failures == []
