"""An edge for a whole file of hostile tests, which must come out of it unharmed: the same worker process, no error of
the program, no traceback in the log."""

from collections.abc import Iterator

import pytest

from shared.data_dir import DataDir
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge, Valkey
from tests.integration.edge.hostile.campaigns import CAMPAIGNS


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Seeded with the rows of `rows` and of `campaigns`, version 10."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    server.seed(10, (*rows.CAMPAIGNS, *CAMPAIGNS), rows.ACCOUNTS)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def edge(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One worker. The file ends with an error when the worker did not live through all its tests."""
    with Edge(DataDir.at(tmp_path_factory.mktemp("edge")), valkey.url) as running:
        pid = running.worker_pid()
        yield running
        assert running.worker_pid() == pid, running.log()
        assert "Traceback" not in running.log()
        assert "milepost_edge_errors_total 0.0\n" in running.admin("/metrics").body.decode()
