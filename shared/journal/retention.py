"""Deleting what has been consumed. Only the one process that ships or ingests a root's streams calls this."""

import errno
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from shared.journal.loss_page import read_losses
from shared.journal.reader import StreamReader
from shared.journal.record import UnknownVersion
from shared.journal.stream import (
    ANNOUNCED_NAME,
    CONSUMED_NAME,
    LOCK_NAME,
    LOSSES_NAME,
    SHIPPED_NAME,
    WriterLock,
    hidden_streams,
    list_segments,
)

_SECTOR = 512  # the unit of st_blocks


class Kept(NamedTuple):
    """A segment that nobody needs any more, but perhaps a Postgres that is restored to yesterday. Sorts oldest first,
    and never before another one of its stream that it follows."""

    written_at: float
    segment: Path
    size: int
    """Bytes of disk."""


def delete_consumed(path: Path, next_seq: int, keep_seconds: float, now: float, losses_stored: int = 0) -> int:
    """Deletes what of the stream holds only seqs below `next_seq` and was last written `keep_seconds` before `now`.

    `now` is in the file system's time (`time.time()`). Whole segments go, oldest first, so that what stays is a
    suffix; the last segment and the directory only when the writer is dead, and `losses_stored` is all that it
    declared lost. Gives the bytes of disk freed; 0 for a stream that is gone already. Raises OSError.
    """
    freed = 0
    for kept in kept_segments(path, next_seq):
        if now - kept.written_at <= keep_seconds:
            return freed
        freed += _delete(kept.segment)
    return freed + _delete_dead(path, next_seq, keep_seconds, now, losses_stored)


def kept_segments(path: Path, next_seq: int, *, finished: bool = False, losses_stored: int = 0) -> list[Kept]:
    """The stream's segments that hold only seqs below `next_seq`, in order. The last one is among them only when the
    stream is `finished` (its writer dead and all of it consumed) and `losses_stored` is all that it declared lost."""
    try:
        names = list_segments(path)
        spent = finished and read_losses(path) <= losses_stored
    except FileNotFoundError:
        return []
    # What begins at or before `next_seq` shows that nothing before it is needed.
    followed_by = [name.first_seq for name in names[1:]] + [next_seq if spent else next_seq + 1]
    kept: list[Kept] = []
    written_at = 0.0
    for name, following in zip(names, followed_by, strict=False):
        if following > next_seq:
            break
        segment = path / name.file
        state = segment.stat()
        written_at = max(written_at, state.st_mtime)
        kept.append(Kept(written_at, segment, state.st_blocks * _SECTOR))
    return kept


def trim(kept: Iterable[Kept], excess: int) -> int:
    """Deletes the oldest of `kept`, one by one, until `excess` bytes of disk are freed; gives what was. A stream that
    has no segment left goes wholly. Raises OSError."""
    freed = 0
    for segment in sorted(kept):
        if freed >= excess:
            break
        freed += _delete(segment.segment)
        if not list_segments(segment.segment.parent):
            freed += _delete_directory(segment.segment.parent)
    return freed


def _delete_dead(path: Path, next_seq: int, keep_seconds: float, now: float, losses_stored: int) -> int:
    """Deletes the stream's last segment and its directory, if nobody writes or misses them."""
    try:
        newest = max([path / name.file for name in list_segments(path)], default=path)
    except FileNotFoundError:
        return 0
    if not _is_old(newest, keep_seconds, now) or read_losses(path) > losses_stored:
        return 0
    # Only reading tells the last seq of the last segment. Dead is dead for good, so no lock is needed after it.
    try:
        with StreamReader(path, next_seq) as reader:
            rest = reader.read(1, 1)
    except UnknownVersion:  # not ours to judge
        return 0
    if rest.gaps or not rest.finished:
        return 0
    freed = sum(_delete(path / name.file) for name in list_segments(path))
    return freed + _delete_directory(path)


def delete_stillborn(root: Path, older_than_seconds: float, now: float) -> int:
    """Deletes stream directories whose worker died before any record could count. Gives the bytes freed.

    The age protects a stream that is just being born and does not hold its lock yet: give at least minutes.
    """
    freed = 0
    for hidden in hidden_streams(root):
        if _is_old(hidden, older_than_seconds, now) and WriterLock(hidden).is_free():
            freed += sum(_delete(hidden / name.file) for name in list_segments(hidden))
            freed += _delete_directory(hidden)
    return freed


def _is_old(path: Path, keep_seconds: float, now: float) -> bool:
    return now - path.stat().st_mtime > keep_seconds


def _delete(path: Path) -> int:
    freed = path.stat().st_blocks * _SECTOR
    path.unlink()
    return freed


def _delete_directory(path: Path) -> int:
    """Deletes the directory and what a writer leaves in it beside segments; not a directory with foreign files."""
    freed = sum(_delete(unfinished) for unfinished in path.glob(".*.seg"))
    left = (LOCK_NAME, LOSSES_NAME, ANNOUNCED_NAME)
    replaced = (CONSUMED_NAME, SHIPPED_NAME)
    for name in (*left, *replaced, *(f".{name}" for name in replaced)):
        (path / name).unlink(missing_ok=True)
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    return freed
