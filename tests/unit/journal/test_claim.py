"""Covers who may take a root's streams away. That a shipper and an ingest refuse: their integration tests."""

from pathlib import Path

import pytest

from shared.journal import Claimed, claimed


def test_one_alone_or_several_that_share(tmp_path: Path) -> None:
    root = tmp_path / "data" / "journal"
    with claimed(root):
        for shared in (False, True):
            with pytest.raises(Claimed, match="another process already takes away"), claimed(root, shared=shared):
                pytest.fail("two hold it")
    with claimed(root, shared=True), claimed(root, shared=True), pytest.raises(Claimed), claimed(root):
        pytest.fail("it is held")
    with claimed(root):
        assert root.is_dir()
