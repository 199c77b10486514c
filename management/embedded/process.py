"""Child processes of one data directory: started so that they never outlive their supervisor, waited for, ended.

Three things hold for every child. It has its own session, so that Ctrl-C in a terminal reaches the supervisor alone.
It gets a signal from the kernel when the supervisor dies, however that happens. And its environment names the data
directory and the part, by which a later life recognises it (see `leftovers`).
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from management.embedded.failure import StartError
from management.embedded.logs import open_log
from management.embedded.privileges import RunAs
from shared.data_dir import DataDir, write_private

DATA_DIR_MARK = "_MILEPOST_DATA_DIR"
PART_MARK = "_MILEPOST_PART"

# Signals to send in turn, each with the seconds it is given before the next; after the last comes SIGKILL.
StopSteps = tuple[tuple[signal.Signals, float], ...]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HURRIED_SECONDS = 1.0
_KILLED_SECONDS = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a child is: its part's name, program, environment, identity, and how it is ended."""

    part: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    run_as: RunAs = field(default_factory=RunAs)
    cwd: Path | None = None
    pass_fds: tuple[int, ...] = ()
    stop_steps: StopSteps = ((signal.SIGTERM, 10.0),)

    def start(self, data_dir: DataDir, stdin: int = subprocess.DEVNULL, stdout: int | None = None) -> "Child":
        """The running child, its output appended to the part's log unless `stdout` is given.

        Raises StartError when the program cannot be executed. Only for the main thread: the kernel ties the death
        signal to the thread that forked, so a child of a worker thread would be ended with that thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("children are started from the main thread only")
        parent = os.getpid()

        def before_exec() -> None:
            self.run_as.enter_namespace()
            # After the change of credentials, since that clears it.
            _libc.prctl(_PR_SET_PDEATHSIG, int(self.stop_steps[0][0]))
            if os.getppid() != parent:  # it died before the line above
                os.kill(os.getpid(), signal.SIGKILL)

        marks = {DATA_DIR_MARK: str(data_dir.root), PART_MARK: self.part}
        with open_log(data_dir, self.part) as log:
            output = log.fileno() if stdout is None else stdout
            try:
                popen = subprocess.Popen(
                    self.argv,
                    env={**self.environ, **marks},
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    cwd=self.cwd,
                    pass_fds=self.pass_fds,
                    user=self.run_as.uid,
                    group=self.run_as.gid,
                    extra_groups=None if self.run_as.uid is None else [],
                    start_new_session=True,
                    preexec_fn=before_exec,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise StartError(f"{self.part} cannot be started: {error}") from error
        return Child(self.part, popen, self.stop_steps)


class Child:
    """A started process. Nothing in it belongs to an event loop, so a second loop may end what a first one began."""

    def __init__(self, part: str, popen: subprocess.Popen[bytes], stop_steps: StopSteps) -> None:
        self.part = part
        self.pid = popen.pid
        self._popen = popen
        self._stop_steps = stop_steps
        self._pid_file: Path | None = None

    def write_pid_file(self, data_dir: DataDir) -> None:
        """Names the process in `run/<part>.pid` until it has ended; on a full disk it goes without."""
        self._pid_file = data_dir.pid_file(self.part)
        with contextlib.suppress(OSError):  # a process that nothing names is worth more than none
            write_private(self._pid_file, f"{self.pid}\n")

    @property
    def running(self) -> bool:
        return self._status() is None

    async def exited(self) -> int:
        """Its exit status, negative for a signal, as soon as it has ended. The caller sets the deadline."""
        while (status := self._status()) is None:
            descriptor = os.pidfd_open(self.pid)  # not yet reaped, so the number is still the child's
            try:
                await until_gone(descriptor)
            finally:
                os.close(descriptor)
        return status

    async def stop(self, hurry: asyncio.Event | None = None) -> int:
        """Goes through the stop steps, then kills the whole session; gives the exit status.

        Once `hurry` is set a step has one second left at most. Raises StartError if even SIGKILL did not end it.
        """
        for signal_number, seconds in self._stop_steps:
            if self.running:
                self._popen.send_signal(signal_number)
                await self._ended_within(seconds, hurry)
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            await self._ended_within(_KILLED_SECONDS, None)
        status = self._status()
        if status is None:
            raise StartError(f"{self.part} (pid {self.pid}) does not end, although it was killed")
        return status

    def kill(self) -> None:
        """Ends the child and whatever shares its session at once, and reaps it."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait(_KILLED_SECONDS)
            self._status()

    def _status(self) -> int | None:
        status = self._popen.poll()
        if status is not None and self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)
            self._pid_file = None
        return status

    async def _ended_within(self, seconds: float, hurry: asyncio.Event | None) -> None:
        exited = asyncio.create_task(self.exited())
        hurried = asyncio.create_task(hurry.wait() if hurry is not None else asyncio.sleep(seconds + 1, True))
        try:
            await asyncio.wait({exited, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and hurried.done():
                await asyncio.wait({exited}, timeout=min(seconds, _HURRIED_SECONDS))
        finally:
            exited.cancel()
            hurried.cancel()
            await asyncio.gather(exited, hurried, return_exceptions=True)


async def until_gone(descriptor: int) -> None:
    """Returns when the process behind the pidfd has ended (a zombie counts as ended); need not be a child of ours."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)


async def run_once(launch: Launch, data_dir: DataDir, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
    """Runs a program to its end; gives its exit status and all it wrote, which also goes to the part's log.

    Raises StartError after `seconds`. Cancelled or late, it leaves nothing of the program running.
    """
    given, written = os.memfd_create("stdin"), os.memfd_create("stdout")
    try:
        os.write(given, stdin)
        os.lseek(given, 0, os.SEEK_SET)
        child = launch.start(data_dir, stdin=given, stdout=written)
        try:
            async with asyncio.timeout(seconds):
                status = await child.exited()
        except TimeoutError:
            raise StartError(f"{launch.argv[0]} was not done after {seconds:g} s", log=None) from None
        finally:
            child.kill()
        os.lseek(written, 0, os.SEEK_SET)
        with os.fdopen(os.dup(written), "rb") as file:
            text = file.read().decode("utf-8", "replace")
    finally:
        os.close(given)
        os.close(written)
    with open_log(data_dir, launch.part) as log:
        log.write(text.encode())
    return status, text
