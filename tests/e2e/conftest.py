"""One running installation for a file of tests; each test makes campaigns of its own in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`milepost up` with one VPN range known."""
    folder: Path = tmp_path_factory.mktemp("stack")
    lists = folder / "ip"
    lists.mkdir()
    (lists / "vpn.txt").write_text("# documentation range, for the tests\n203.0.113.0/24\n")
    with running(folder / "data", IP_DATA_DIR=str(lists)) as stack:
        yield stack
