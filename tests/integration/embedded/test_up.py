"""`milepost up`: start, first login, refusals, restarts of parts and servers, its own death, the orderly stop.

The parts are small programs (`part`), everything else is real. Left to other files: one server by itself
(`test_postgres`, `test_valkey`), what ends a process (`test_process`, `test_leftovers`), the real parts (tests/e2e).
"""

import os
import pty
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from management.embedded import leftovers
from shared.data_dir import DataDir
from tests.integration.embedded.conftest import Begin
from tests.integration.embedded.life import Life, environment, until


async def insert_row(up: Life) -> None:
    database = await asyncpg.connect(up.endpoints()["database_url"])
    await database.execute("insert into migrated default values")
    await database.close()


async def count_rows(up: Life) -> int:
    database = await asyncpg.connect(up.endpoints()["database_url"])
    count: int = await database.fetchval("select count(*) from migrated")
    await database.close()
    return count


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_everything_starts_and_stops_in_order(first_life: Begin, data_dir: DataDir) -> None:
    up = first_life().running()

    assert up.get() == b"HTTP/1.0 200 OK"
    assert "\nwarning: Postgres 18 is what this runs on\n" in up.output
    pids = up.pids()
    assert set(pids) == {"edge", "ingest", "jobs", "postgres", "valkey"}
    assert all(leftovers.judge(pid, data_dir) == leftovers.Leftover(pid, part) for part, pid in pids.items())
    ends = up.endpoints()
    assert mode(data_dir.endpoints) == 0o600
    assert ends["edge_url"] == f"http://localhost:{up.edge_port}"
    assert await count_rows(up) == 0
    async with redis.asyncio.from_url(ends["redis_url"], socket_timeout=5) as client:
        assert await client.ping()

    assert up.stop() == 0
    order = (data_dir.root / "stopped.txt").read_text().split("\n")
    assert order == ["edge SIGTERM", "jobs SIGTERM", "ingest SIGTERM", ""]
    assert "database system is shut down" in (data_dir.logs / "postgres.log").read_text()
    assert list(data_dir.run.iterdir()) == []
    assert leftovers.find(data_dir) == []


@pytest.mark.usefixtures("life")
def test_on_a_terminal_the_login_is_shown_and_ctrl_c_stops_in_order(data_dir: DataDir) -> None:
    environ = environment(data_dir, {})
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(Path(__file__).parents[3])
        os.execve(sys.executable, [sys.executable, "-m", "tests.integration.embedded.up"], environ)
    shown = b""

    def read_until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 4096)

    read_until(b"milepost is running")
    assert b"correct-horse" in shown
    assert not (data_dir.secrets / "owner-login").exists()
    os.write(terminal, b"\x03")
    read_until(b"Stopped.")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    # A part that got Ctrl-C itself would have noted SIGINT.
    assert (data_dir.root / "stopped.txt").read_text().split() == [
        word for part in ("edge", "jobs", "ingest") for word in (part, "SIGTERM")
    ]


def test_a_second_start_on_the_same_directory_is_refused(life: Begin) -> None:
    first = life().running()
    second = life()
    assert second.process.wait(10) == 1
    assert second.output == (
        f"milepost: milepost is running on {first.data_dir.root} already (pid {first.process.pid})\n"
    )
    assert first.get() == b"HTTP/1.0 200 OK"


@pytest.mark.parametrize("setting", ["MILEPOST_EDGE_PORT", "MILEPOST_API_PORT", "MILEPOST_EDGE_ADMIN_PORT"])
def test_a_taken_port_is_named_before_anything_is_started(first_life: Begin, data_dir: DataDir, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        up = first_life(**{setting: str(stranger.getsockname()[1])})
        assert up.process.wait(10) == 1
    assert up.output.startswith(f"milepost: {setting}: port ")
    assert up.output.count("\n") == 1
    assert not data_dir.postgres.exists()


async def test_a_killed_part_or_server_comes_back_where_it_was(life: Begin, data_dir: DataDir) -> None:
    up = life().running()
    ends = up.endpoints()
    await insert_row(up)
    os.kill(up.pid("edge"), signal.SIGKILL)
    assert up.get() == b"HTTP/1.0 200 OK"  # asked while nobody served: the connection waited for the next edge
    up.says("edge is running again\n")
    for part in ("ingest", "postgres", "valkey"):
        up.kill_part(part)
        up.says(f"{part} ended (killed by SIGKILL), it is started again\n")
        up.says(f"{part} is running again\n")

    assert up.endpoints() == ends
    assert up.get() == b"HTTP/1.0 200 OK"
    assert await count_rows(up) == 1
    async with redis.asyncio.from_url(ends["redis_url"], socket_timeout=5) as client:
        assert await client.ping()
    assert up.stop() == 0


async def test_what_outlives_a_killed_supervisor_is_ended_by_the_next_start_which_has_the_data(
    life: Begin, data_dir: DataDir
) -> None:
    first = life(PART_STUBBORN="edge").running()
    login = data_dir.secrets / "owner-login"
    assert login.read_text() == "owner@example.com  correct-horse\n"
    assert mode(login) == 0o600
    assert str(login) in first.output
    assert "correct-horse" not in first.output
    login.unlink()
    await insert_row(first)
    edge = first.pid("edge")

    first.stop(signal.SIGKILL)
    until(lambda: leftovers.find(data_dir) == [leftovers.Leftover(edge, "edge")], seconds=10)
    assert first.get() == b"HTTP/1.0 200 OK"  # it holds the public port, which the next start needs

    second = life(MILEPOST_EDGE_PORT=str(first.edge_port)).running()
    assert "edge was left from an earlier start and has been ended" in second.output
    assert leftovers.judge(edge, data_dir) is None
    assert second.pid("edge") != edge
    assert await count_rows(second) == 1
    assert not login.exists()  # the owner is made once


def test_a_part_that_dies_again_and_again_ends_the_start_with_its_last_words(life: Begin, data_dir: DataDir) -> None:
    up = life(PART_CRASHES="ingest")
    assert up.process.wait(20) == 1
    *_, words, sentence = up.output.splitlines()
    assert words == "  ingest does not like this machine"
    assert sentence.startswith("milepost: ingest ended 3 times while starting, see ")
    assert leftovers.find(data_dir) == []


def test_a_failing_migration_ends_the_start_before_any_part_runs(life: Begin, data_dir: DataDir) -> None:
    up = life(PART_CRASHES="migrate")
    assert up.process.wait(20) == 1
    assert "  migrate does not like this machine\nmilepost: the database could not be brought up to date" in up.output
    assert not (data_dir.logs / "edge.log").exists()
    assert leftovers.find(data_dir) == []


def test_a_second_signal_hurries_the_stop(life: Begin, data_dir: DataDir) -> None:
    up = life(PART_STUBBORN="jobs").running()
    begin = time.monotonic()
    up.process.send_signal(signal.SIGINT)
    up.says("Stopping …")
    time.sleep(0.3)
    assert up.process.poll() is None
    assert up.stop(signal.SIGINT) == 0
    assert time.monotonic() - begin < 10.0  # jobs alone had 20 s
    assert leftovers.find(data_dir) == []


def test_a_signal_during_the_start_stops_what_is_there(first_life: Begin, data_dir: DataDir) -> None:
    up = first_life()
    until(lambda: (data_dir.root / "postgres.new").exists())
    assert up.stop() == 0
    assert leftovers.find(data_dir) == []
    first_life().running()
