"""A Valkey and an edge for a whole test module, and fresh ones for tests that kill them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.data_dir import DataDir
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge, Valkey


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Seeded with the rows of `rows`, version 10."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    server.seed(10, rows.CAMPAIGNS, rows.ACCOUNTS)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def edge(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One worker on the rows of `rows`. Tests that share it tell their events apart by what they send."""
    with Edge(DataDir.at(tmp_path_factory.mktemp("edge")), valkey.url) as running:
        yield running


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """The test's own, with one campaign, version 1."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = Valkey(folder)
    server.start()
    server.seed(1, [rows.ACTIVE])
    yield server
    server.kill()


@pytest.fixture
def own_edge(own_valkey: Valkey, tmp_path: Path) -> Iterator[Edge]:
    """The test's own edge on `own_valkey`."""
    folder = tmp_path / "edge"
    folder.mkdir()
    with Edge(DataDir.at(folder), own_valkey.url) as running:
        yield running
