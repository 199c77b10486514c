"""Covers the look at a root for new streams: what it lists, when it lists nothing, and that no birth escapes it. The same
of segments: `test_reader`."""

import os
from pathlib import Path

from shared.journal import StreamListing
from shared.journal.stream import SETTLED_NS

ONE, TWO = "1" * 32, "2" * 32


def settle(root: Path) -> None:
    """As if the last birth were long ago."""
    at = os.stat(root).st_mtime_ns - 2 * SETTLED_NS
    os.utime(root, ns=(at, at))


def test_before_the_first_stream_there_is_no_root(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    listing = StreamListing(root)
    assert listing.look() == []
    (root / ONE).mkdir(parents=True)
    assert listing.look() == [root / ONE]


def test_a_root_that_did_not_change_is_not_listed_again(tmp_path: Path) -> None:
    (tmp_path / ONE).mkdir()
    settle(tmp_path)
    listing = StreamListing(tmp_path)
    assert listing.look() == [tmp_path / ONE]
    assert listing.look() == []
    (tmp_path / TWO).mkdir()
    assert listing.look() == [tmp_path / ONE, tmp_path / TWO]


def test_a_birth_within_the_same_tick_of_the_clock_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ONE).mkdir()
    born_at = os.stat(tmp_path).st_mtime_ns
    listing = StreamListing(tmp_path)
    assert listing.look() == [tmp_path / ONE]
    (tmp_path / TWO).mkdir()
    os.utime(tmp_path, ns=(born_at, born_at))
    assert listing.look() == [tmp_path / ONE, tmp_path / TWO]


def test_a_look_that_came_to_nothing_is_taken_again(tmp_path: Path) -> None:
    (tmp_path / ONE).mkdir()
    settle(tmp_path)
    listing = StreamListing(tmp_path)
    listing.look()
    listing.look_again()
    assert listing.look() == [tmp_path / ONE]
    assert listing.look() == []
