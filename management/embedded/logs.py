"""Logs of the children: one file a part, written by the child itself, kept to a size by the supervisor.

A child writes to the file directly and not through a pipe of the supervisor, so that nothing it says is lost and
nothing it does stalls when the supervisor is killed.
"""

import shutil
from pathlib import Path
from typing import BinaryIO

from shared.data_dir import DataDir

LOG_BYTES = 16 * 1024 * 1024  # for the file in use, and again for the one before it
_TAIL_BYTES = 16 * 1024


def log_file(data_dir: DataDir, part: str) -> Path:
    return data_dir.logs / f"{part}.log"


def open_log(data_dir: DataDir, part: str) -> BinaryIO:
    """The part's log, open for appending; one that has grown too large becomes `<part>.log.1` first."""
    path = log_file(data_dir, part)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.rename(path.with_name(f"{path.name}.1"))
    return path.open("ab", buffering=0)


def bound_logs(data_dir: DataDir, limit: int = LOG_BYTES) -> None:
    """Moves the text of each log larger than `limit` bytes to `<part>.log.1` and empties the log in place.

    In place, since a child keeps the file open. It appends, so it goes on at the new end; what it writes between the
    copy and the cut is lost, which a log can bear and a full disk cannot. On one that is full there is no copy.
    """
    for path in data_dir.logs.glob("*.log"):
        if path.stat().st_size > limit:
            former = path.with_name(f"{path.name}.1")
            try:
                shutil.copyfile(path, former)
            except OSError:
                former.unlink(missing_ok=True)
            with path.open("r+b") as file:
                file.truncate(0)


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, none if there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]
