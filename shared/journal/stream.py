"""A stream's directory: its name, its lock, its segments' names; how it is born, listed, and known to be dead.

`<root>/<32 hex digits>/` holds `lock`, `losses` (see `loss_page.py`), `announced` (see `announced.py`), `consumed`
(see `consumed.py`), `shipped` (see `shipped.py`) and segments, `<first seq, 20 digits>.seg`. A segment that failed is
begun again under the first seq it had not confirmed; where that is its own, the name gets a number:
`<first seq>.1.seg`. Names that begin with a dot are not yet, or no longer, part of the journal. The life of the writer
is its flock on `lock`: the kernel drops it at any kind of death, and nobody ever locks a stream again to write.
"""

import fcntl
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final, NamedTuple

LOCK_NAME = "lock"
LOSSES_NAME = "losses"
ANNOUNCED_NAME = "announced"
CONSUMED_NAME = "consumed"
SHIPPED_NAME = "shipped"
_STREAM_NAME = re.compile(r"[0-9a-f]{32}")
_HIDDEN_STREAM_NAME = re.compile(r"\.[0-9a-f]{32}")
_SEGMENT_NAME = re.compile(r"([0-9]{20})(?:\.([1-9][0-9]{0,8}))?\.seg")


class Birth(NamedTuple):
    """A stream that no reader can see yet."""

    stream: bytes
    hidden: Path
    lock_fd: int


def conceive(root: Path) -> Birth:
    """Makes a hidden stream directory under `root` with a fresh random id, and holds its lock.

    The lock is taken before `reveal` gives the directory its name, so a reader that sees a stream with a free lock
    knows that its writer is gone, never that it has not come yet. The descriptor is close-on-exec.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_directory(root.parent)
    stream = secrets.token_bytes(16)
    hidden = root / f".{stream.hex()}"
    hidden.mkdir(mode=0o700)
    lock_fd = os.open(hidden / LOCK_NAME, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock_fd)
        raise
    return Birth(stream, hidden, lock_fd)


def reveal(birth: Birth) -> Path:
    """Makes the stream visible to readers, durably. Its own entries must have been synced before."""
    path = birth.hidden.with_name(birth.stream.hex())
    birth.hidden.rename(path)
    sync_directory(path.parent)
    return path


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def streams(root: Path) -> list[Path]:
    """The directories of all visible streams, dead or alive, in order of name; [] when there is no journal yet."""
    return _directories(root, _STREAM_NAME)


def hidden_streams(root: Path) -> list[Path]:
    """The directories of streams that are being born, or whose writer died before they were."""
    return _directories(root, _HIDDEN_STREAM_NAME)


def _directories(root: Path, pattern: re.Pattern[str]) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if pattern.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [root / name for name in sorted(names)]


def stream_id(path: Path) -> bytes:
    """The 16 bytes that `path`'s name spells. Raises ValueError for a name that is no stream's."""
    if not _STREAM_NAME.fullmatch(path.name):
        raise ValueError(f"{path.name} is not the name of a stream")
    return bytes.fromhex(path.name)


class SegmentName(NamedTuple):
    """Sorts as segments are read. `attempt` tells apart those that begin with the same seq: 0, then 1, …"""

    first_seq: int
    attempt: int = 0

    @property
    def file(self) -> str:
        return f"{self.first_seq:020}.{self.attempt}.seg" if self.attempt else f"{self.first_seq:020}.seg"

    @classmethod
    def parse(cls, file: str) -> "SegmentName | None":
        """None for a file that is no segment."""
        match = _SEGMENT_NAME.fullmatch(file)
        return match and cls(int(match[1]), int(match[2] or 0))


def list_segments(path: Path) -> list[SegmentName]:
    """The stream's segments, ascending. Raises FileNotFoundError when the stream is gone."""
    with os.scandir(path) as entries:
        found = [(SegmentName.parse(entry.name), entry) for entry in entries]
    return sorted(name for name, entry in found if name is not None and entry.is_file(follow_symlinks=False))


class WriterLock:
    """A reader's view of a stream's lock. Once seen free it stays free: no stream is written to a second time."""

    __slots__ = ("_fd", "_path", "free")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.free = False

    def is_free(self) -> bool:
        """True when the writer is dead: what the files hold from now on is all there will ever be.

        A stream without lock file (deleted, or restored without it) has no writer either. Never waits.
        """
        if self.free:
            return True
        try:
            if self._fd < 0:
                self._fd = os.open(self._path / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
            # Shared, so that two readers which look at the same moment do not take each other for the writer.
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.free = True
        except BlockingIOError:
            return False
        except FileNotFoundError:
            self.free = True
        self.close()
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


SETTLED_NS: Final = 1_000_000_000
"""Directory times have the grain of the kernel's tick (at most 10 ms), and a change within the same tick leaves the time
as it is: what was read of a directory is only trusted when it was read this long after the last change."""


class StreamListing:
    """`streams`, asked again only when the root changed: a look at one where nothing is born costs one stat."""

    __slots__ = ("_root", "_seen_mtime_ns")

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen_mtime_ns = -1

    def look(self) -> list[Path]:
        """As `streams` if the root may have changed since the last look, else []. Raises OSError."""
        try:
            mtime_ns = os.stat(self._root).st_mtime_ns
        except FileNotFoundError:
            return []
        if mtime_ns == self._seen_mtime_ns:
            return []
        found = streams(self._root)
        settled = time.time_ns() - mtime_ns > SETTLED_NS
        self._seen_mtime_ns = mtime_ns if settled else -1
        return found

    def look_again(self) -> None:
        """The next look lists everything: its caller made nothing of the last one."""
        self._seen_mtime_ns = -1


class SegmentListing:
    """`list_segments`, asked again only when the directory changed: an idle stream costs one stat a poll."""

    __slots__ = ("_path", "_seen_mtime_ns", "_segments")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segments: list[SegmentName] = []
        self._seen_mtime_ns = -1

    def segments(self) -> list[SegmentName]:
        """As `list_segments`; [] when the stream is gone."""
        try:
            mtime_ns = os.stat(self._path).st_mtime_ns
            if mtime_ns != self._seen_mtime_ns:
                self._segments = list_segments(self._path)
                settled = time.time_ns() - mtime_ns > SETTLED_NS
                self._seen_mtime_ns = mtime_ns if settled else -1
        except FileNotFoundError:
            self._segments, self._seen_mtime_ns = [], -1
        return self._segments
