"""A disk of a few megabytes for a process of its own: a tmpfs in a private mount namespace."""

import os
import shutil
import sys
from pathlib import Path
from subprocess import run

REPOSITORY = Path(__file__).parents[3]
_MOUNT = 'mount -t tmpfs -o "size=$1,nr_inodes=$2" milepost "$3" && shift 3 && exec "$@"'


def run_on_small_disk(folder: Path, module: str, *arguments: str, size: str = "16m", inodes: int = 1000) -> None:
    """Runs `python -m module folder *arguments` with `folder` on a disk of `size`; fails when that fails, or when
    there is no way to get such a disk."""
    folder.mkdir()
    assert shutil.which("unshare"), "unshare is needed: apt-get install util-linux"
    namespaces = "-m" if os.getuid() == 0 else "-Urm"
    command = ["unshare", namespaces, "sh", "-c", _MOUNT, "sh", size, str(inodes), str(folder)]
    command += [sys.executable, "-m", module, str(folder), *arguments]
    done = run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
