"""Who takes a root's streams away: one shipper, or ingests that take turns by their lease, never both.

A lock on the root's directory itself, so that it can be had on a full disk too; the kernel lets go of it however its
holder ends.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Claimed(Exception):
    """Somebody else takes the streams away; one sentence without a full stop."""


@contextlib.contextmanager
def claimed(root: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the root, which is made if need be. `shared`: others that share it may hold it too.

    Raises Claimed at once when it cannot be had, and OSError.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Claimed(f"another process already takes away what is journaled in {root}") from None
        yield
    finally:
        os.close(descriptor)
