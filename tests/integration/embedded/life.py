"""One life of `milepost up` as a test sees it: a process, its output, the files it writes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import orjson

from management.embedded import leftovers
from management.embedded.ports import free_loopback_port
from shared.data_dir import DataDir

ROOT = Path(__file__).parents[3]
T = TypeVar("T")


def until(ask: Callable[[], T], seconds: float = 20.0) -> T:
    """The first true answer; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds:g} s"
        time.sleep(0.02)
    return answer


def environment(data_dir: DataDir, changes: Mapping[str, str]) -> dict[str, str]:
    """What `milepost up` is started with: free ports unless `changes` give others."""
    names = ("MILEPOST_EDGE_PORT", "MILEPOST_API_PORT", "MILEPOST_EDGE_ADMIN_PORT")
    ports = {name: str(free_loopback_port()) for name in names}
    own = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return {**own, **ports, "MILEPOST_DATA_DIR": str(data_dir.root), **changes}


class Life:
    """A started `milepost up`; `changes` are environment variables. Its ports are free ones unless given."""

    def __init__(self, data_dir: DataDir, changes: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.environ = environment(data_dir, changes)
        data_dir.root.parent.mkdir(exist_ok=True)
        self._output = data_dir.root.parent / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.embedded.up"],
                env=self.environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def edge_port(self) -> int:
        return int(self.environ["MILEPOST_EDGE_PORT"])

    def running(self) -> "Life":
        """This life, once it says that it is running."""

        def up() -> bool:
            assert self.process.poll() is None, self.output
            return "milepost is running" in self.output

        until(up)
        return self

    def says(self, text: str) -> str:
        """All output, once it contains `text`."""
        until(lambda: text in self.output)
        return self.output

    def pid(self, part: str) -> int:
        return int(self.data_dir.pid_file(part).read_text())

    def pids(self) -> dict[str, int]:
        found = {}
        for path in self.data_dir.run.glob("*.pid"):
            with suppress(FileNotFoundError):  # its part has ended since it was listed
                found[path.stem] = int(path.read_text())
        return found

    def kill_part(self, part: str) -> int:
        """Kills a part and waits for its successor, whose pid it gives."""
        old = self.pid(part)
        os.kill(old, signal.SIGKILL)
        until(lambda: self.pids().get(part, old) != old)
        return self.pid(part)

    def endpoints(self) -> dict[str, str]:
        text: dict[str, str] = orjson.loads(self.data_dir.endpoints.read_bytes())
        return text

    def get(self) -> bytes:
        """The first line that the public port answers."""
        with socket.create_connection(("127.0.0.1", self.edge_port), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(4096).partition(b"\r\n")[0]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal; gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def end(self) -> None:
        """After a test: nothing of this life is left, also if it was killed or hangs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for leftover in leftovers.find(self.data_dir):
            with suppress(ProcessLookupError):  # gone by itself since it was found
                os.kill(leftover.pid, signal.SIGKILL)
        until(lambda: not leftovers.find(self.data_dir))
