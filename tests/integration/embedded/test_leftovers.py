"""Processes of an earlier life: which are ours, which are strangers, in what order ours end.

Left to other files: orphaned Postgres backends and pid files that lie (`test_postgres`), the whole way (`test_up`).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from management.embedded import leftovers
from management.embedded.leftovers import Leftover
from shared.data_dir import DataDir
from tests.integration.embedded.life import until


class Start(Protocol):
    def __call__(self, environ: Mapping[str, str], script: str = "exec sleep 60") -> int: ...


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a shell script with an environment; gives its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(environ: Mapping[str, str], script: str = "exec sleep 60") -> int:
        started.append(subprocess.Popen(["/bin/sh", "-c", script], env={**environ, "PATH": os.environ["PATH"]}))
        return started[-1].pid

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def made(data_dir: DataDir) -> DataDir:
    data_dir.root.mkdir()
    return data_dir


def marks(folder: Path, part: str) -> dict[str, str]:
    return {"_MILEPOST_DATA_DIR": str(folder), "_MILEPOST_PART": part}


def test_both_marks_make_it_ours(start: Start, made: DataDir) -> None:
    pid = start(marks(made.root, "api"))
    until(lambda: leftovers.find(made) == [Leftover(pid, "api")])


def test_the_directory_counts_and_not_how_its_path_is_written(start: Start, made: DataDir, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made.root)
    pid = start(marks(tmp_path / "link", "api"))
    until(lambda: leftovers.find(made) == [Leftover(pid, "api")])


async def test_strangers_are_neither_found_nor_ended(start: Start, made: DataDir, tmp_path: Path) -> None:
    other = DataDir.at(tmp_path / "other")
    other.root.mkdir()
    made.postgres.mkdir()
    strangers = [
        start({}),
        start(marks(other.root, "api")),
        start({"_MILEPOST_DATA_DIR": str(made.root)}),
        start({"_MILEPOST_PART": "api"}),
        start({}, f"cd {made.postgres}; exec sleep 60"),  # in the folder, but no Postgres
    ]
    made.run.mkdir()
    for pid in strangers:  # numbers in files prove nothing
        made.pid_file(f"part-{pid}").write_text(f"{pid}\n")
    assert await leftovers.end_all(made) == []
    assert all(Path(f"/proc/{pid}/stat").read_text().split()[2] == "S" for pid in strangers)
    assert [found.part for found in leftovers.find(other)] == ["api"]


async def test_parts_end_before_the_servers_and_the_stubborn_are_killed(start: Start, made: DataDir) -> None:
    note = "trap 'echo {0} >> {1}/order; exit' TERM INT; while :; do sleep 0.05; done"
    stubborn = start(marks(made.root, "jobs"), "trap '' TERM; while :; do sleep 0.05; done")
    for part in ("postgres", "valkey", "edge"):
        start(marks(made.root, part), note.format(part, made.root))
    until(lambda: {found.part for found in leftovers.find(made)} == {"edge", "jobs", "postgres", "valkey"})
    assert await leftovers.end_all(made) == ["edge", "jobs", "valkey", "postgres"]
    assert (made.root / "order").read_text().split() == ["edge", "valkey", "postgres"]
    assert leftovers.judge(stubborn, made) is None


def test_a_process_that_ended_is_nobodys(start: Start, made: DataDir) -> None:
    pid = start(marks(made.root, "api"), "exit")  # a zombie until the test reaps it
    until(lambda: leftovers.judge(pid, made) is None)


def test_a_directory_that_was_removed_and_made_again_is_the_same(start: Start, made: DataDir) -> None:
    pid = start(marks(made.root, "api"))
    shutil.rmtree(made.root)
    made.root.mkdir()
    until(lambda: leftovers.find(made) == [Leftover(pid, "api")])
