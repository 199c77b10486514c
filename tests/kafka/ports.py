"""Ports for brokers: blocks that no other test process on this machine takes, below those the kernel hands out."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO, Final

BLOCK: Final = 4
"""Ports a broker needs: clients, controller, the listener behind a proxy, the proxy itself."""
_FIRST, _LAST = 20_000, 32_000


class PortBlock:
    """Ports `first` … `first + BLOCK - 1`, this process's until `release`."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir()) / f"milepost-test-ports-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        for first in random.sample(range(_FIRST, _LAST, BLOCK), 200):
            claim = _claim(folder / str(first))
            if claim is None:
                continue
            if all(_is_free(port) for port in range(first, first + BLOCK)):
                self.first, self._claim = first, claim
                return
            claim.close()
        raise AssertionError("no block of free ports among 200 tried")

    def release(self) -> None:
        self._claim.close()


def _claim(path: Path) -> IO[bytes] | None:
    """Held by a lock, so that it ends with the process however that ends."""
    claim = path.open("wb")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        claim.close()
        return None
    return claim


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the broker's own: closing ones do not matter
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
