"""Covers what the shipper keeps in a stream's directory: it comes back, and where it is damaged it is nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.journal import Shipped, read_shipped, write_shipped
from shared.journal.stream import SHIPPED_NAME


@pytest.mark.parametrize("shipped", [Shipped(0, 1, None), Shipped(11, 2**63, 2**62), Shipped(3, 7, 0)])
def test_it_comes_back(tmp_path: Path, shipped: Shipped) -> None:
    assert read_shipped(tmp_path) is None
    write_shipped(tmp_path, Shipped(1, 1, 1))
    write_shipped(tmp_path, shipped)
    assert read_shipped(tmp_path) == shipped
    assert [path.name for path in tmp_path.iterdir()] == [SHIPPED_NAME]


@given(st.integers(0, 10))
def test_a_torn_one_is_nothing(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    path = tmp_path_factory.mktemp("stream")
    write_shipped(path, Shipped(11, 1234, 5678))
    file = path / SHIPPED_NAME
    file.write_bytes(file.read_bytes()[:kept])
    assert read_shipped(path) is None


@given(st.binary(max_size=40))
def test_nothing_in_it_breaks_its_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("stream")
    (path / SHIPPED_NAME).write_bytes(content)
    read_shipped(path)
