"""Data directories for the tests of the embedded servers, and the ways in which Postgres can run here."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from management.embedded.postgres import EmbeddedPostgres
from management.embedded.privileges import RunAs
from shared.data_dir import DataDir
from tests.integration.embedded.life import ROOT, Life

Begin = Callable[..., Life]
PlainUser = Callable[[list[str]], "subprocess.Popen[str]"]


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """An empty data directory, not made yet."""
    return DataDir.at(tmp_path / "data")


@pytest.fixture(scope="session")
def finished_cluster(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """A data directory with a cluster that was made, started and stopped; to copy, never to start."""
    made = DataDir.at(tmp_path_factory.mktemp("cluster") / "data")

    async def make() -> None:
        postgres = EmbeddedPostgres(made)
        await postgres.start()
        await postgres.stop()

    asyncio.run(make())
    return made


@pytest.fixture
def cluster_dir(finished_cluster: DataDir, data_dir: DataDir) -> DataDir:
    """A data directory of the test's own with a cluster in it, without the second that making one takes."""
    shutil.copytree(finished_cluster.root, data_dir.root)
    return data_dir


@pytest.fixture
async def postgres(cluster_dir: DataDir) -> AsyncIterator[EmbeddedPostgres]:
    """A running server on `cluster_dir`."""
    server = EmbeddedPostgres(cluster_dir)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def open_dir() -> Iterator[DataDir]:
    """A data directory that every user of the machine may enter, which pytest's own are not."""
    above = Path(tempfile.mkdtemp())
    above.chmod(0o755)
    yield DataDir.at(above / "data")
    shutil.rmtree(above)


@pytest.fixture
def as_plain_user() -> PlainUser:
    """Starts a program as a user who is not root; if we are, in a namespace where root's uid is nobody's."""
    user = RunAs(own_namespace=os.geteuid() == 0)

    def start(argv: list[str]) -> "subprocess.Popen[str]":
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(argv, preexec_fn=user.enter_namespace, env=environ, stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def first_life(data_dir: DataDir) -> Iterator[Begin]:
    """Starts `milepost up` with small programs as its parts, on a directory that does not exist yet.

    Whatever is left of it is ended after the test.
    """
    lives: list[Life] = []

    def begin(**changes: str) -> Life:
        lives.append(Life(data_dir, changes))
        return lives[-1]

    yield begin
    # The last one first: the parts of one that still runs would be started again as often as they are ended.
    for begun in reversed(lives):
        begun.end()


@pytest.fixture
def life(cluster_dir: DataDir, first_life: Begin) -> Begin:
    """The same, with a cluster there already."""
    return first_life
