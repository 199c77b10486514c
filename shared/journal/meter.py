"""How much of a journal is not consumed yet, measured from the files alone."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from shared.journal.consumed import read_consumed
from shared.journal.stream import SETTLED_NS, SegmentName, list_segments, streams

_PAGE: Final = 4096


class _Measure(NamedTuple):
    directory_ns: int
    whole: int
    """Bytes in the segments that do not change any more."""
    growing: SegmentName | None
    skipped: int
    """Of the last segment: consumed."""


class JournalMeter:
    """Measures what is not consumed under a root. A stream whose directory did not change costs one or two calls."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._measures: dict[Path, _Measure] = {}

    def unconsumed_bytes(self) -> int:
        """Written and not consumed, in all streams; space that is only reserved does not count. Raises OSError."""
        measures: dict[Path, _Measure] = {}
        total = 0
        for path in streams(self._root):
            try:
                measure = self._measure(path)
                total += measure.whole
                if measure.growing is not None:
                    total += max(_written_bytes(path / measure.growing.file) - measure.skipped, 0)
            except FileNotFoundError:  # deleted meanwhile: it is consumed
                continue
            measures[path] = measure
        self._measures = measures
        return total

    def _measure(self, path: Path) -> _Measure:
        directory_ns = os.stat(path).st_mtime_ns
        former = self._measures.get(path)
        if former is not None and former.directory_ns == directory_ns:
            return former
        settled = time.time_ns() - directory_ns > SETTLED_NS
        consumed = read_consumed(path)
        segments = [name for name in list_segments(path) if consumed is None or name >= consumed.segment]
        if not segments:
            return _Measure(directory_ns if settled else -1, 0, None, 0)
        skipped = 0 if consumed is None or segments[0] != consumed.segment else consumed.offset
        *full, growing = segments
        whole = sum(os.stat(path / name.file).st_size for name in full)
        if full:
            whole, skipped = max(whole - skipped, 0), 0
        return _Measure(directory_ns if settled else -1, whole, growing, skipped)


def _written_bytes(segment: Path) -> int:
    """The size of a file without the space that is reserved behind what was written, to a page.

    Reserved space is zeros, and no page of records is: payloads are text. (The file system's own word for it,
    SEEK_HOLE, is not to be had: it takes reserved space that somebody read for data.)
    """
    fd = os.open(segment, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        written, pages = 0, -(-size // _PAGE)
        while written < pages:
            middle = (written + pages) // 2
            if os.pread(fd, _PAGE, middle * _PAGE).strip(b"\0"):
                written = middle + 1
            else:
                pages = middle
        return min(written * _PAGE, size)
    finally:
        os.close(fd)
