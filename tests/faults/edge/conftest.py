"""A Valkey with the one campaign whose links the visitors of the faults follow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.edge.visitors import CAMPAIGN
from tests.integration.edge.harness import Valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """The test's own, with `CAMPAIGN`, version 1."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = Valkey(folder)
    server.start()
    server.seed(1, [CAMPAIGN])
    yield server
    server.kill()
