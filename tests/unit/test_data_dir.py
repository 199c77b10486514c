"""Covers the replacing of a small file that others read meanwhile. What is secret: unit/edge/test_settings."""

import os
import stat
from pathlib import Path

import pytest

from shared.data_dir import DataDir, replace


def test_who_is_reading_has_the_former_content_and_the_next_one_the_new(tmp_path: Path) -> None:
    file = DataDir.at(tmp_path / "data").ingest_status
    replace(file, b"former")
    with file.open("rb") as reading:
        replace(file, b"new")
        assert reading.read() == b"former"
    assert file.read_bytes() == b"new"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_cannot_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "status"
    replace(file, b"former")
    (tmp_path / f".status.{os.getpid()}").mkdir()
    with pytest.raises(IsADirectoryError):
        replace(file, b"new")
    assert file.read_bytes() == b"former"
