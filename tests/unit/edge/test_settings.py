"""The edge's own settings and where its key ring comes from. All settings together are in ../test_env.py."""

from pathlib import Path

import pytest

from edge.settings import read_settings
from shared.data_dir import DataDir, write_private
from shared.env import SettingsError
from shared.ids import KeyRing

RING = KeyRing.generate().to_text()


def test_the_key_ring_of_the_environment_comes_first(tmp_path: Path) -> None:
    write_private(DataDir.at(tmp_path).key_ring, KeyRing.generate().to_text())
    edge = read_settings({"MILEPOST_DATA_DIR": str(tmp_path), "MILEPOST_SECRET_KEYS": RING})
    assert edge.key_ring.to_text() == RING


def test_else_it_is_read_from_the_data_dir(tmp_path: Path) -> None:
    write_private(DataDir.at(tmp_path).key_ring, RING + "\n")
    assert read_settings({"MILEPOST_DATA_DIR": str(tmp_path)}).key_ring.to_text() == RING


@pytest.mark.parametrize("content", [None, "", "1:short", "\xff"])
def test_no_usable_key_ring_is_one_clear_problem(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        write_private(DataDir.at(tmp_path).key_ring, content)
    with pytest.raises(SettingsError) as refusal:
        read_settings({"MILEPOST_DATA_DIR": str(tmp_path)})
    assert len(refusal.value.problems) == 1
    assert str(DataDir.at(tmp_path).key_ring) in refusal.value.problems[0]


def test_bad_settings_are_told_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings({"MILEPOST_DATA_DIR": str(tmp_path), "MILEPOST_EDGE_PORT": "x", "MILEPOST_TYPO": "1"})
    assert len(refusal.value.problems) == 2
