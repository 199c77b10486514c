"""A small real file system: a tmpfs in a mount namespace of its own, reached through the process that holds it."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.integration.edge.harness import await_true

LONGEST_SECONDS: Final = 600
"""A holder that nobody ended ends itself, and the file system with it."""
_MOUNT: Final = f'mount -t tmpfs -o "size=$1,nr_inodes=$2,mode=0700" tmpfs "$3" && exec sleep {LONGEST_SECONDS}'


class SmallDisk:
    """`size` in bytes, `inodes` in files. A context manager; `path` is its root for every process of this user."""

    def __init__(self, folder: Path, size: int, inodes: int = 1000) -> None:
        folder.mkdir()
        # As another user than root the namespace comes with one of users, in which this user may mount.
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["unshare", *user, "--mount", "sh", "-c", _MOUNT, "mount", str(size), str(inodes), str(folder)]
        self._holder = subprocess.Popen(command)
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")
        self._filler = self.path / "filler"
        try:
            await_true(lambda: os.stat(self.path).st_dev != os.stat(folder).st_dev, "the small disk is mounted")
        except BaseException:
            self._end()
            raise

    def fill(self, free: int = 0) -> None:
        """Take all space but `free` bytes."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.free() - free)
        finally:
            os.close(descriptor)

    def relieve(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink()

    def free(self) -> int:
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._holder.kill()
        self._holder.wait()
