"""One `milepost up` a data directory: a lock that the kernel lets go of however its holder ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from management.embedded.failure import StartError
from shared.data_dir import DataDir


@contextlib.contextmanager
def claimed(data_dir: DataDir) -> Iterator[None]:
    """Holds the data directory, which is made if need be; raises StartError naming the pid of who holds it already."""
    path = data_dir.root / "up.lock"
    try:
        data_dir.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"MILEPOST_DATA_DIR: cannot write to {data_dir.root}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise StartError(f"milepost is running on {data_dir.root} already (pid {holder})") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
