"""Covers `milepost deadletters redrive` as typed, on a real Postgres: each letter's fact once, its deltas, its books; what
still fails stays; kills, repetition, and ingest and fold at work meanwhile."""

import asyncio
import signal
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from shared.events import CLICK, Event
from shared.ids import KeyRing
from tests.ingest_builders import DAY_MS, NOW_MS, click, kind_of, payload, postback, stranger, write_stream
from tests.ingest_process import IngestProcess, Start, until_count
from tests.integration.deadletters.conftest import Milepost
from tests.integration.deadletters.poisoned import (
    BROKEN,
    book,
    counted,
    mend,
    poison,
    poison_call,
    poison_postgres,
)
from tests.integration.fold.process import fold_process
from tests.rollup_sums import account_sum_differences

STREAM = bytes(range(16))
FACTS = ("clicks", "click_deltas", "postbacks", "postback_deltas", "strangers", "dead_letters")


async def bury(owner: asyncpg.Connection, *events: Event | bytes, kind: int | None = None) -> None:
    """Letters as an older version buried them, with their stream's books."""
    rows = [
        (STREAM, seq, kind or CLICK, event)
        if isinstance(event, bytes)
        else (STREAM, seq, kind_of(event), payload(event))
        for seq, event in enumerate(events, 1)
    ]
    await owner.executemany(
        "INSERT INTO dead_letters (stream, seq, kind, payload, reason, number) VALUES ($1, $2, $3, $4, 'too new', 0)",
        rows,
    )
    await owner.execute(
        "INSERT INTO stream_positions (stream, next, dead_lettered) VALUES ($1, $2, $3)",
        *(STREAM, len(rows) + 1, len(rows)),
    )


async def finish(process: IngestProcess) -> None:
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


async def test_every_kind_is_stored_with_its_effect_and_its_letter_is_gone(
    owner: asyncpg.Connection, milepost: Milepost
) -> None:
    # A day without a partition, and a HEAD, which is stored but in no figure.
    await bury(owner, click(at_ms=NOW_MS - 400 * DAY_MS), click(mode=2), postback(), postback(reason=20), stranger())
    said = await milepost("deadletters", "redrive", "--all")
    assert "5 stored, 0 still cannot be stored" in said
    assert await counted(owner, *FACTS) == (2, 1, 2, 1, 1, 0)
    assert await book(owner, STREAM) == {"settled": 5, "stored": 5}
    places = await owner.fetch(
        "SELECT stream, seq FROM clicks UNION ALL SELECT stream, seq FROM postbacks ORDER BY seq"
    )
    assert [tuple(place) for place in places] == [(STREAM, seq) for seq in (1, 2, 3, 4)]
    assert await owner.fetchval("SELECT next FROM stream_positions") == 6
    assert "no dead letters of records" in await milepost("deadletters", "redrive", "--all")
    assert await counted(owner, *FACTS) == (2, 1, 2, 1, 1, 0)


async def test_what_is_there_already_has_no_second_effect(owner: asyncpg.Connection, milepost: Milepost) -> None:
    twice, call = click(), postback()
    await bury(owner, twice, twice, call, call)
    assert "2 stored, 2 were there already" in await milepost("deadletters", "redrive", "--all")
    assert await counted(owner, *FACTS) == (1, 1, 1, 1, 0, 0)
    assert await book(owner, STREAM) == {"settled": 4, "stored": 2, "repeated": 2}


async def test_what_still_fails_stays_with_todays_reason(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await poison_postgres(owner)
    await bury(owner, BROKEN, click(), poison(), click())
    said = await milepost("deadletters", "redrive", "--all", status=1)
    assert "2 stored, 2 still cannot be stored" in said
    assert f"stream {STREAM.hex()}, seq 1: not JSON" in said
    assert "seq 3: " in said
    letters = await owner.fetch("SELECT seq, reason FROM dead_letters ORDER BY seq")
    assert [letter["seq"] for letter in letters] == [1, 3]
    assert "not JSON" in letters[0]["reason"]
    assert "no_poison" in letters[1]["reason"]
    assert await book(owner, STREAM) == {"settled": 4, "stored": 2, "dead_lettered": 2}
    await mend(owner)
    assert "1 stored, 1 still" in await milepost("deadletters", "redrive", "--all", status=1)
    assert await counted(owner, "clicks", "click_deltas", "dead_letters") == (3, 3, 1)


async def test_a_dry_run_tells_the_same_and_changes_nothing(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, BROKEN, click(at_ms=NOW_MS - 400 * DAY_MS), postback(), stranger())
    before = await owner.fetch("SELECT * FROM dead_letters ORDER BY seq")
    said = await milepost("deadletters", "redrive", "--all", "--dry-run", status=1)
    assert "3 would be stored, 1 still cannot be stored" in said
    assert await owner.fetch("SELECT * FROM dead_letters ORDER BY seq") == before
    assert await counted(owner, *FACTS) == (0, 0, 0, 0, 0, 4)
    assert await book(owner, STREAM) == {"settled": 4, "dead_lettered": 4}
    assert await owner.fetchval("SELECT count(*) FROM pg_class WHERE relname LIKE 'clicks\\_2%'") == 0


async def test_a_message_that_named_no_record_is_left_alone(owner: asyncpg.Connection, milepost: Milepost) -> None:
    insert = (
        "INSERT INTO dead_letters (stream, seq, kind, payload, reason, number) VALUES ($1, 99, 0, 'x', 'no key', -1)"
    )
    await owner.execute(insert, bytes(16))
    said = await milepost("deadletters", "redrive", "--all")
    assert said.splitlines() == [
        "1 unreadable messages name no record; they stay as they are",
        "no dead letters of records",
    ]
    await bury(owner, click())
    assert "1 stored, 0 still cannot be stored" in await milepost("deadletters", "redrive", "--all")
    assert await owner.fetchval("SELECT reason FROM dead_letters") == "no key"


async def test_one_letter_or_one_stream_can_be_meant(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, click(), click(), click())
    assert "1 stored" in await milepost("deadletters", "redrive", "--stream", STREAM.hex(), "--seq", "2")
    assert [row["seq"] for row in await owner.fetch("SELECT seq FROM dead_letters ORDER BY seq")] == [1, 3]
    assert "that match" in await milepost("deadletters", "redrive", "--stream", "ff", status=1)
    assert "2 stored" in await milepost("deadletters", "redrive", "--stream", STREAM.hex()[:6])


@pytest.mark.parametrize(
    "arguments", [(), ("--seq", "1"), ("--all", "--stream", "ff"), ("--stream", "xyz"), ("--stream", "f" * 33)]
)
async def test_a_selection_that_says_nothing_clear_is_refused(
    arguments: tuple[str, ...], owner: asyncpg.Connection, milepost: Milepost
) -> None:
    await bury(owner, click())
    assert "Error" in await milepost("deadletters", "redrive", *arguments, status=2)
    assert await counted(owner, "clicks", "dead_letters") == (0, 1)


@pytest.mark.parametrize("command", [("list",), ("redrive", "--all"), ("accept",)])
async def test_a_database_that_is_away_is_one_sentence(command: tuple[str, ...], environ: dict[str, str]) -> None:
    away = Milepost(environ | {"MILEPOST_DATABASE_URL": "postgresql://postgres:x@127.0.0.1:1/nowhere"})
    said = await away("deadletters", *command, status=1)
    assert said.startswith("milepost: the database does not answer: ")
    assert len(said.splitlines()) == 1


async def test_a_wire_that_breaks_leaves_every_letter_whole(owner: asyncpg.Connection, milepost: Milepost) -> None:
    await bury(owner, *(click() for _ in range(600)))
    process = milepost.started("deadletters", "redrive", "--all")
    await until_count(owner, "clicks", 50)
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'milepost deadletters'"
    )
    out, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 1, out + err
    assert "the rest was not tried, run it again" in err
    assert "milepost: the database went away" in err
    stored, letters = await counted(owner, "clicks", "dead_letters")
    assert stored + letters == 600
    assert await book(owner, STREAM) == {"settled": 600, "stored": stored, "dead_lettered": letters}
    await milepost("deadletters", "redrive", "--all")
    assert await counted(owner, "clicks", "click_deltas", "dead_letters") == (600, 600, 0)


async def test_kills_in_the_middle_double_nothing(owner: asyncpg.Connection, milepost: Milepost) -> None:
    events = [click() if place % 3 else postback() for place in range(900)]
    await bury(owner, *events)
    for _ in range(3):
        before = 900 - (await counted(owner, "dead_letters"))[0]
        process = milepost.started("deadletters", "redrive", "--all")
        async with asyncio.timeout(30):
            while 900 - (await counted(owner, "dead_letters"))[0] < before + 30:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        process.kill()
        await asyncio.to_thread(process.communicate, timeout=30)
    assert (await counted(owner, "dead_letters"))[0] > 0, "it was never caught in the middle"
    await milepost("deadletters", "redrive", "--all")
    assert await counted(owner, *FACTS) == (600, 600, 300, 300, 0, 0)
    assert await book(owner, STREAM) == {"settled": 900, "stored": 900}


async def test_beside_ingest_and_fold_every_figure_is_right(
    start: Start, data_dir: Path, owner: asyncpg.Connection, milepost: Milepost, database_url: str, ring: KeyRing
) -> None:
    """Two redrives at once, while ingest stores more of the same streams' days and fold takes the deltas away."""
    await poison_postgres(owner)
    repeated = poison()
    first: list[Event | bytes] = [click(cost=1_000_000) for _ in range(3000)]
    for place in range(0, 3000, 40):
        first[place] = poison(cost=1_000_000) if place % 80 else poison_call(payout="2.00")
    first[1] = repeated
    stream = await write_stream(data_dir / "journal", first)
    ingest = start()
    await until_count(owner, "dead_letters", 76)
    async with fold_process(database_url, ring, data_dir / "fold") as fold:
        await fold.says("lease_taken")
        await mend(owner)
        redrives = [milepost.started("deadletters", "redrive", "--all") for _ in range(2)]
        later: list[Event | bytes] = [click(cost=1_000_000) for _ in range(4000)]
        later[7] = repeated  # the same id as one of the letters
        second = await write_stream(data_dir / "journal", later)
        for process in redrives:
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
            assert process.returncode == 0, out + err
        await until_count(owner, "clicks", 6961)
        async with asyncio.timeout(60):
            while await counted(owner, "click_deltas", "postback_deltas") != (0, 0):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await finish(ingest)
        assert await fold.ends(signal.SIGTERM) == 0
    assert await counted(owner, *FACTS) == (6961, 0, 38, 0, 0, 0)
    figures = await owner.fetchrow(
        "SELECT sum(clicks) AS clicks, sum(click_cost) AS cost, sum(conversions) AS conversions, sum(revenue) AS revenue"
        " FROM r15 WHERE basis = 0"
    )
    cost = await owner.fetchval("SELECT sum(cost) FROM clicks")
    assert tuple(figures or ()) == (6961, cost, 38, Decimal(76))
    assert await account_sum_differences(owner) == []
    books = await book(owner, stream), await book(owner, second)
    assert sum(line["stored"] for line in books) == 6961 + 38
    assert sum(line.get("repeated", 0) for line in books) == 1
    assert sum(line.get("dead_lettered", 0) for line in books) == 0
