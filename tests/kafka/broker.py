"""A real Kafka broker for tests, with every way it can fail.

Its methods block for as long as the broker takes (start 2-4 s, after a kill up to 8 s). In an async test that talks to
it from its own loop, call them as `await asyncio.to_thread(broker.restart)`.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from tests.kafka.ports import PortBlock
from tests.kafka.proxy import Proxy

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "deploy" / "kafka"
READY_SECONDS: Final = 90
STOP_SECONDS: Final = 20.0
_LOG_LINES: Final = 60
_JAVA: Final = "-Xms64m -Xmx384m -XX:TieredStopAtLevel=1"
_EXTRA: Final = """
listeners=PLAINTEXT://127.0.0.1:{0},CONTROLLER://127.0.0.1:{1},PROXIED://127.0.0.1:{2}
advertised.listeners=PLAINTEXT://127.0.0.1:{0},PROXIED://127.0.0.1:{3}
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms=1000
log.index.size.max.bytes=1048576
"""
# Ends the broker when the test process is gone, however it went: then the pipe on its standard input ends.
# The whole group: at the start the broker is still the script that prepares it.
_GUARD: Final = 'read -r _; tr "\\0" "\\n" <"/proc/$1/cmdline" | grep -qF "$2" && kill -9 "-$1"'


class Broker:
    """One broker on a port of its own, with its data below `folder`; not started yet. A context manager that closes.

    Clients reach it at `bootstrap`, and with faults between at the address of `proxy()`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = PortBlock()
        self.port, _, self.proxied_port, self.proxy_port = range(self._ports.first, self._ports.first + 4)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._extra = folder / "extra.properties"
        self._extra.write_text(_EXTRA.format(*range(self.port, self.port + 4)))
        self._environ = {**os.environ, "KAFKA_JAVA": _JAVA, "KAFKA_EXTRA": str(self._extra), "KAFKA_FOREGROUND": "1"}

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, or thaw it, and wait for its answer; a broker that runs is only waited for."""
        if self.running:
            self.thaw()
        else:
            self._reap()
            self._launch()
        self._await_answer()

    def stop(self) -> None:
        """In order (SIGTERM): what it acknowledged is on its disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL. What it acknowledged is in the page cache, so nothing acknowledged is lost."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop in order and start on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and are accepted by the kernel, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Kill it and delete its data: the next start knows no topic, no record, no offset."""
        self.kill()
        shutil.rmtree(self._data, ignore_errors=False)

    def configure(self, line: str) -> None:
        """One more server property, as `name=value`, from the next start on."""
        with self._extra.open("a") as extra:
            extra.write(line + "\n")

    def remember(self) -> None:
        """Keep a copy of what is stored now, for `go_back`. The broker is killed and must be started again."""
        self.kill()
        shutil.rmtree(self._kept, ignore_errors=True)
        _copy(self._data, self._kept)

    def go_back(self) -> None:
        """Kill it and put back what `remember` kept: it forgets what it acknowledged since, and keeps its topics."""
        self.wipe()
        _copy(self._kept, self._data)

    def proxy(self) -> Proxy:
        """A proxy in front of this broker, one at a time: `with broker.proxy() as proxy`, clients at `proxy.address`."""
        return Proxy(self.proxied_port, self.proxy_port)

    def log(self) -> str:
        """The end of what the broker wrote about itself."""
        found = []
        for name in ("kafka.out", "kafka.log"):
            path = self.folder / name
            if path.exists():
                found += path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(found)

    def close(self) -> None:
        """Kill it and give its ports back. Its data stay in the folder."""
        self.kill()
        self._ports.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _kept(self) -> Path:
        return self.folder / "data.kept"

    def _launch(self) -> None:
        with (self.folder / "kafka.out").open("ab") as out:
            self._process = subprocess.Popen(
                ["sh", str(SCRIPTS / "up"), str(self.folder), str(self.port)],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await_answer(self) -> None:
        words = [str(self.port), str(READY_SECONDS), "", str(self.pid)]
        probe = subprocess.run([sys.executable, str(SCRIPTS / "probe.py"), *words], capture_output=True, text=True)
        assert probe.returncode == 0, f"the broker does not answer: {probe.stderr}\n{self.log()}"

    def _end(self, how: signal.Signals) -> None:
        """Also a frozen one."""
        if self.running:
            self._send(how)
            self.thaw()
        self._reap()

    def _send(self, how: signal.Signals) -> None:
        # The whole group: at the start the script and what it runs come before the broker itself.
        os.killpg(self.pid, how)

    def _reap(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._send(signal.SIGKILL)
                self._process.wait(STOP_SECONDS)
            self._process = None
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait(STOP_SECONDS)
            self._guard = None


def is_gone(pid: int) -> bool:
    """Whether a process ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _copy(source: Path, destination: Path) -> None:
    # Kafka reserves its index files ahead: without holes a copy would take hundreds of megabytes.
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(destination)], check=True)
