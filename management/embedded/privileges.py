"""As which user a server runs. Postgres refuses to run as root, so for root there are two ways out.

The first is a user namespace in which root's own uid is called `nobody`: the files stay root's, so no folder above the
data directory has to be open to anyone. Where a kernel or a container forbids that, the server runs as the real user
nobody and its folder is given to that user. A folder that exists already decides by its owner, since changing the way
under existing files would lock the server out.
"""

import ctypes
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from management.embedded.failure import StartError

_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_NOBODY = 65534
_PROBE_SECONDS = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class RunAs:
    """The identity a child takes between fork and exec; without arguments: that of its parent."""

    uid: int | None = None
    gid: int | None = None
    own_namespace: bool = False

    def enter_namespace(self) -> None:
        """Runs in the forked child, before exec. A child has one thread, as the kernel demands here."""
        if not self.own_namespace:
            return
        outer_uid, outer_gid = os.geteuid(), os.getegid()
        if _libc.unshare(_CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_NOBODY} {outer_uid} 1")
        Path("/proc/self/gid_map").write_text(f"{_NOBODY} {outer_gid} 1")

    def own(self, path: Path) -> None:
        """Gives a file or folder that this process made to the user who will read it."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def for_postgres(folder: Path, binary: Path) -> RunAs:
    """The identity for a Postgres on `folder`, which need not exist; raises StartError where none would work."""
    me = os.geteuid()
    owner = folder.stat().st_uid if folder.exists() else None
    if me != 0:
        if owner not in (None, me):
            raise StartError(f"{folder} belongs to another user (uid {owner}), run milepost as that user")
        return RunAs()
    if owner:
        return _as_user(owner, folder, binary)
    if _namespaces_work(binary):
        return RunAs(own_namespace=True)
    if owner == 0 and any(folder.iterdir()):
        raise StartError(
            f"{folder} is root's and user namespaces are not available here, while Postgres does not run as root: "
            f"give it away with `chown -R {_NOBODY}:{_NOBODY} {folder}`, or run milepost as a plain user"
        )
    return _as_user(_nobody_uid(), folder, binary)


def _namespaces_work(binary: Path) -> bool:
    probe = RunAs(own_namespace=True)
    try:
        done = subprocess.run(
            [binary, "--version"], preexec_fn=probe.enter_namespace, capture_output=True, timeout=_PROBE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _nobody_uid() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return _NOBODY


def _as_user(uid: int, folder: Path, binary: Path) -> RunAs:
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    for path in (folder.parent, binary.parent):
        reached = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", path],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=_PROBE_SECONDS,
        )
        if reached.returncode != 0:
            raise StartError(
                f"Postgres has to run as uid {uid}, which may not enter {path}: "
                "open the folders above it with `chmod o+x`, or choose another MILEPOST_DATA_DIR"
            )
    return RunAs(uid=uid, gid=gid)
