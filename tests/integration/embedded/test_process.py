"""One child process: its marks, its death with its parent, how it is waited for and ended; and its log.

Left to other files: recognising a process of an earlier life (`test_leftovers`), the servers, `milepost up`.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from management.embedded.failure import StartError
from management.embedded.keeper import Backoff, describe
from management.embedded.leftovers import find
from management.embedded.logs import bound_logs, last_lines, open_log
from management.embedded.privileges import RunAs
from management.embedded.process import Launch, run_once
from shared.data_dir import DataDir
from tests.integration.embedded.life import ROOT, until

IDENTITIES = [RunAs()]
if os.geteuid() == 0:
    IDENTITIES += [RunAs(own_namespace=True), RunAs(uid=65534, gid=65534)]

PARENT = """
import pathlib, sys, time
from management.embedded.privileges import RunAs
from management.embedded.process import Launch
from shared.data_dir import DataDir
launch = Launch("ingest", ("/bin/sleep", "60"), {}, run_as=%r, cwd=pathlib.Path("/"))
print(launch.start(DataDir.at(pathlib.Path(sys.argv[1]))).pid, flush=True)
time.sleep(60)
"""


def launch(*argv: str, **changes: object) -> Launch:
    return Launch("ingest", argv, {"PATH": os.environ["PATH"]}, **changes)  # type: ignore[arg-type]


def shell(script: str, seconds: float = 10.0) -> Launch:
    return launch("/bin/sh", "-c", script, stop_steps=((signal.SIGTERM, seconds),))


@pytest.mark.parametrize("identity", IDENTITIES, ids=["as we are", "namespace", "nobody"][: len(IDENTITIES)])
def test_a_child_dies_with_its_parent_however_that_ends(data_dir: DataDir, identity: RunAs) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT % identity, data_dir.root],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert [leftover.pid for leftover in find(data_dir)] == [child]
    parent.kill()
    parent.communicate()
    until(lambda: not find(data_dir), seconds=5)


async def test_a_child_is_marked_and_in_a_session_of_its_own(data_dir: DataDir) -> None:
    child = shell("exec sleep 60").start(data_dir)
    environ = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert b"_MILEPOST_PART=ingest\0" in environ
    assert f"_MILEPOST_DATA_DIR={data_dir.root}\0".encode() in environ
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    assert await child.stop() == -signal.SIGTERM


async def test_its_pid_file_goes_with_it(data_dir: DataDir) -> None:
    child = shell("exec sleep 60").start(data_dir)
    child.write_pid_file(data_dir)
    assert data_dir.pid_file("ingest").read_text() == f"{child.pid}\n"
    os.kill(child.pid, signal.SIGKILL)
    assert await child.exited() == -signal.SIGKILL
    assert not data_dir.pid_file("ingest").exists()


async def test_a_child_that_ignores_the_signal_is_killed_with_its_own_children(data_dir: DataDir) -> None:
    child = shell("trap '' TERM; sleep 60 & sleep 60", seconds=0.3).start(data_dir)
    until(lambda: len(find(data_dir)) == 3)
    assert await child.stop() == -signal.SIGKILL
    until(lambda: not find(data_dir), seconds=5)


async def test_hurry_shortens_a_wait_that_has_begun(data_dir: DataDir) -> None:
    child = shell("trap '' TERM; sleep 60", seconds=30.0).start(data_dir)
    until(lambda: len(find(data_dir)) == 2)
    hurry = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, hurry.set)
    async with asyncio.timeout(5):
        assert await child.stop(hurry) == -signal.SIGKILL


async def test_two_may_wait_for_the_same_child(data_dir: DataDir) -> None:
    child = shell("sleep 0.1; exit 7").start(data_dir)
    one, other = await asyncio.gather(child.exited(), child.exited())
    assert one == other == 7


def test_a_worker_thread_may_not_start_one(data_dir: DataDir) -> None:
    refused: list[RuntimeError] = []

    def start() -> None:
        try:
            shell("exit").start(data_dir)
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert [str(error) for error in refused] == ["children are started from the main thread only"]


def test_a_program_that_is_not_there_is_a_clear_error(data_dir: DataDir) -> None:
    with pytest.raises(StartError, match=r"ingest cannot be started: .*No such file"):
        launch("/no/such/program").start(data_dir)


async def test_a_program_run_once_gives_its_status_and_words_and_logs_them(data_dir: DataDir) -> None:
    assert await run_once(shell("cat; echo no >&2; exit 3"), data_dir, 10.0, b"yes\n") == (3, "yes\nno\n")
    assert last_lines(data_dir.logs / "ingest.log", 5) == ["yes", "no"]


async def test_a_program_run_once_too_long_leaves_nothing(data_dir: DataDir) -> None:
    with pytest.raises(StartError, match=r"not done after 0\.2 s"):
        await run_once(shell("sleep 60 & sleep 60"), data_dir, 0.2)
    until(lambda: not find(data_dir), seconds=5)


def test_pauses_grow_to_five_seconds_and_begin_anew_after_a_long_life() -> None:
    backoff = Backoff()
    assert [round(backoff.pause_after(1.0), 1) for _ in range(8)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert [round(backoff.pause_after(lived), 1) for lived in (30.0, 1.0, 1.0)] == [0.0, 0.2, 0.4]


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_an_end_is_told_in_words(status: int, words: str) -> None:
    assert describe(status) == words


def test_a_log_that_grew_too_large_is_moved_aside_while_its_writer_goes_on(data_dir: DataDir) -> None:
    with open_log(data_dir, "api") as log:
        log.write(b"old\n" * 100)
        bound_logs(data_dir, limit=1000)
        assert not (data_dir.logs / "api.log.1").exists()
        bound_logs(data_dir, limit=100)
        log.write(b"new\n")
    assert (data_dir.logs / "api.log").read_bytes() == b"new\n"
    assert (data_dir.logs / "api.log.1").read_bytes() == b"old\n" * 100
