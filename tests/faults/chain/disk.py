"""A small file system in the mount namespace that `__main__` runs in, to be filled up."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20


class Disk:
    """A tmpfs of `size` bytes mounted at `path`; it ends with the namespace."""

    def __init__(self, path: Path, size: int) -> None:
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(path)], check=True)
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no byte free, as something else on the same disk would."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            # Others take and give back room meanwhile, so it is taken piece by piece until nothing is left.
            with suppress(OSError):
                while True:
                    os.write(descriptor, bytes(_PIECE))
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Everything on it is gone."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def relieve(self) -> None:
        self._filler.unlink()
