"""Covers the books of whole processes: no false alarm through kills of workers and of ingest, and an alarm, with the
right numbers, for what is taken from a dead worker's journal meanwhile. Also `milepost jobs --once books`."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from shared.ids import KeyRing
from shared.journal import read_announced, stream_id
from shared.journal.stream import list_segments, streams
from tests.ingest_process import REPOSITORY, IngestProcess
from tests.integration.books.ledger import line, terms


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal"


@pytest.fixture
def ingest(tmp_path: Path, database_url: str, ring: KeyRing) -> Iterator[list[IngestProcess]]:
    """Those that were started; begin one by appending `start()`."""
    started: list[IngestProcess] = []
    yield started
    for process in started:
        process.clean_up()


def start(tmp_path: Path, database_url: str, ring: KeyRing) -> IngestProcess:
    return IngestProcess.start(tmp_path / "data", database_url, ring)


def live_and_die(root: Path, durability: str, seconds: float) -> int:
    """A worker's life under load, ended by kill -9; the last seq that it answered for."""
    command = [sys.executable, "-m", "tests.integration.books.clicking_process", str(root), durability]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines.append(child.stdout.readline())
        child.kill()
        lines += child.stdout.read().splitlines()
    return max(int(line) for line in lines if line.strip())


def once(tmp_path: Path, database_url: str, ring: KeyRing, *flags: str) -> tuple[int, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    environ = inherited | {
        "PYTHONPATH": str(REPOSITORY),
        "MILEPOST_DATA_DIR": str(tmp_path / "data"),
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_SECRET_KEYS": ring.to_text(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "management.cli", "jobs", "--once", *flags],
        env=environ, cwd=tmp_path, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.decode() + done.stderr.decode()


async def until_finished(owner: asyncpg.Connection, stream: bytes) -> None:
    async with asyncio.timeout(60):
        while not await owner.fetchval("SELECT finished FROM books WHERE stream = $1", stream):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_kills_of_workers_and_of_ingest_raise_no_alarm(
    tmp_path: Path,
    journal: Path,
    ingest: list[IngestProcess],
    database_url: str,
    ring: KeyRing,
    durability: str,
) -> None:
    owner = await asyncpg.connect(database_url)
    ingest.append(start(tmp_path, database_url, ring))
    answered: list[int] = []
    lives: set[bytes] = set()
    for life in range(3):
        dying = asyncio.to_thread(live_and_die, journal, durability, 1.5)
        task = asyncio.create_task(dying)
        await asyncio.sleep(1.0)
        lives |= {stream_id(path) for path in streams(journal)}
        if life == 1:
            ingest[-1].popen.kill()
            ingest[-1].popen.wait()
            ingest.append(start(tmp_path, database_url, ring))
        answered.append(await task)
        lives |= {stream_id(path) for path in streams(journal)}
    assert len(lives) == 3
    for stream in lives:
        await until_finished(owner, stream)
    found = {stream: await terms(owner, stream) for stream in lives}
    assert all(set(line) == {"stored", "last_seq"} for line in found.values()), found
    assert sum(line["stored"] for line in found.values()) >= sum(answered)
    status, said = await asyncio.to_thread(once, tmp_path, database_url, ring, "books")
    assert (status, said) == (0, said)
    assert said.startswith("the books balance")
    assert "Stream" not in said
    await owner.close()


async def test_a_tail_cut_from_a_dead_worker_s_journal_is_declared_lost(
    tmp_path: Path, journal: Path, ingest: list[IngestProcess], database_url: str, ring: KeyRing
) -> None:
    owner = await asyncpg.connect(database_url)
    await asyncio.to_thread(live_and_die, journal, "fsync", 2.5)
    (path,) = streams(journal)
    announced = read_announced(path)
    assert announced is not None
    segment = path / list_segments(path)[-1].file
    content = segment.read_bytes()
    kept = len(content[: len(content.rstrip(b"\0")) // 3])
    segment.write_bytes(content[:kept])
    ingest.append(start(tmp_path, database_url, ring))
    await until_finished(owner, stream_id(path))
    found = await terms(owner, stream_id(path))
    assert found == {"stored": found["stored"], "lost": announced - found["stored"], "last_seq": announced}
    assert found["lost"] > 0
    status, said = await asyncio.to_thread(once, tmp_path, database_url, ring, "books", "--full")
    assert status == 0, "what is declared is in its column"
    assert f"seqs {found['stored'] + 1} to {announced} missing" in said
    deleted = await owner.fetchval(
        "WITH gone AS (DELETE FROM clicks WHERE seq = 2 RETURNING 1) SELECT count(*) FROM gone"
    )
    assert deleted == 1
    status, said = await asyncio.to_thread(once, tmp_path, database_url, ring, "books", "--full")
    assert status == 1
    assert "the books do not balance" in said
    assert "1 stored row gone from the tables" in said
    assert "books_do_not_balance" in said, "and an error in the log"
    assert (await line(owner, stream_id(path)))["missing_rows"] == 1
    await owner.close()


async def test_an_unknown_sweep_and_a_database_that_is_away_are_said_in_a_line(
    tmp_path: Path, database_url: str, ring: KeyRing
) -> None:
    status, said = await asyncio.to_thread(once, tmp_path, database_url, ring, "bookz")
    assert (status, said) == (2, "milepost: no sweep is called bookz; there is books\n")
    status, said = await asyncio.to_thread(once, tmp_path, "postgresql://nobody@127.0.0.1:9/none", ring, "books")
    assert status == 3
    assert "the books were not checked" in said
