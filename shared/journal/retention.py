"""Deleting what has been consumed. Only the one process that ships or ingests a root's streams calls this."""

import errno
from itertools import pairwise
from pathlib import Path

from shared.journal.reader import StreamReader
from shared.journal.stream import LOCK_NAME, WriterLock, hidden_streams, list_segments, segment_name

_SECTOR = 512  # the unit of st_blocks


def delete_consumed(path: Path, next_seq: int, keep_seconds: float, now: float) -> int:
    """Deletes what of the stream holds only seqs below `next_seq` and was last written `keep_seconds` before `now`.

    `now` is in the file system's time (`time.time()`). Whole segments go, oldest first, so that what stays is a
    suffix; the last segment and the directory only when the writer is dead. Gives the bytes of disk freed; 0 for a
    stream that is gone already. Raises OSError.
    """
    try:
        segments = list_segments(path)
    except FileNotFoundError:
        return 0
    freed = 0
    for first_seq, following in pairwise(segments):
        segment = path / segment_name(first_seq)
        if following > next_seq or not _is_old(segment, keep_seconds, now):
            return freed
        freed += _delete(segment)
    return freed + _delete_dead(path, next_seq, keep_seconds, now)


def _delete_dead(path: Path, next_seq: int, keep_seconds: float, now: float) -> int:
    """Deletes the stream's last segment and its directory, if nobody writes or misses them."""
    newest = max([path / segment_name(first_seq) for first_seq in list_segments(path)], default=path)
    if not _is_old(newest, keep_seconds, now):
        return 0
    # Only reading tells the last seq of the last segment. Dead is dead for good, so no lock is needed after it.
    with StreamReader(path, next_seq) as reader:
        rest = reader.read(1, 1)
    if rest.gaps or not rest.finished:
        return 0
    freed = sum(_delete(path / segment_name(first_seq)) for first_seq in list_segments(path))
    return freed + _delete_directory(path)


def delete_stillborn(root: Path, older_than_seconds: float, now: float) -> int:
    """Deletes stream directories whose worker died before any record could count. Gives the bytes freed.

    The age protects a stream that is just being born and does not hold its lock yet: give at least minutes.
    """
    freed = 0
    for hidden in hidden_streams(root):
        if _is_old(hidden, older_than_seconds, now) and WriterLock(hidden).is_free():
            freed += sum(_delete(hidden / segment_name(first_seq)) for first_seq in list_segments(hidden))
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
    (path / LOCK_NAME).unlink(missing_ok=True)
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    return freed
