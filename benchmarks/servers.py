"""The servers that are measured, each as its own processes: the edge as it is really started, and its two peers.

A server that is not measured at the moment stands still (SIGSTOP), so that its timers take nothing from the others.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from rich.progress import Progress

from benchmarks import ip_data, traffic
from benchmarks.machine import BOTH, CLIENT_CPU, SERVER_CPU, cpu_seconds, need_program, pin
from shared.data_dir import DataDir
from tests.integration.edge.harness import Edge, Valkey

START_SECONDS = 90.0
BOOKS_SECONDS = 15.0
"""Workers report what they have on disk twice a second."""
_SEEDED_AT_ONCE = 5_000
BARE, NGINX = "bare uvicorn 302", "nginx return 302"
NGINX_CONFIG = """
worker_processes {workers};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_timeout 60s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{ return 302 https://shop.example/; }}
    }}
}}
"""


class NotStarted(Exception):
    """A server did not answer in time; the message says which and what it logged."""


@dataclass
class Server:
    """One server under measurement. `pids` are all its processes, `workers` those that answer."""

    name: str
    port: int
    pids: list[int]
    workers: list[int]
    campaigns: int = 1
    """How many campaigns a client may ask it for."""
    edge: Edge | None = None
    answered: int = field(default=0, compare=False)
    """Redirects that clients counted so far."""

    def stand_still(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    @contextmanager
    def measured(self, cpus: tuple[int, ...] = (SERVER_CPU,)) -> Iterator[Self]:
        """It alone runs meanwhile, its workers on `cpus`, and what other runs left to be written is on disk."""
        os.sync()
        # Workers first: a supervisor that wakes alone may take them for dead.
        for pid in reversed(self.pids):
            os.kill(pid, signal.SIGCONT)
        for worker in self.workers:
            pin(worker, cpus)
        try:
            yield self
        finally:
            self.stand_still()

    def cpu_seconds(self) -> float:
        """Processor time of the workers so far."""
        return cpu_seconds(self.workers)

    def journaled(self) -> int:
        """Records on disk of all workers' streams, once they cover what was answered, or what there is of them when
        they do not in time: then answers were given without a record."""
        deadline = time.monotonic() + BOOKS_SECONDS
        with self.measured():
            while (found := self._synced()) < self.answered and time.monotonic() < deadline:
                time.sleep(0.2)
        return found

    def _synced(self) -> int:
        assert self.edge is not None
        metrics = self.edge.admin("/metrics").body.decode()
        return int(sum(float(seq) for seq in re.findall(r"journal_synced_seq\{[^}]*\} ([\d.e+]+)", metrics)))


class Servers:
    """Starts servers when they are first asked for, keeps them for all questions of a run, ends them at its end."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._cleanup = ExitStack()
        self._valkeys: dict[int, Valkey] = {}
        self._started: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._started.values():
            for pid in reversed(server.pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        self._cleanup.close()

    def bare(self, workers: int = 1) -> Server:
        name = BARE if workers == 1 else f"{BARE}, {workers} workers"
        return self._once(name, lambda: self._peer(name, self._launch_bare, workers))

    def nginx(self) -> Server:
        return self._once(NGINX, lambda: self._peer(NGINX, self._launch_nginx, 1))

    def edge(self, durability: str, campaigns: int, workers: int = 1) -> Server:
        """The edge with everything on: address data, lists, this many campaigns."""
        name = f"edge {durability}" + (f", {workers} workers" if workers > 1 else "")
        key = f"{name}, {campaigns} campaigns"
        return self._once(key, lambda: self._edge(name, key, durability, campaigns, workers))

    def edges(self) -> dict[str, Server]:
        """Every edge started so far."""
        return {key: server for key, server in self._started.items() if server.edge is not None}

    def _once(self, key: str, start: Callable[[], Server]) -> Server:
        if key not in self._started:
            task = self._progress.add_task(f"start {key}", total=None)
            # It may use both processors to start; then only its workers return to the server's.
            os.sched_setaffinity(0, BOTH)
            self._started[key] = server = start()
            os.sched_setaffinity(0, {CLIENT_CPU})
            for pid in server.pids:
                pin(pid, (CLIENT_CPU,))
            self._progress.remove_task(task)
            server.stand_still()
        return self._started[key]

    def _peer(self, name: str, launch: Callable[[int, int], "subprocess.Popen[bytes]"], workers: int) -> Server:
        port = free_port()
        process = launch(port, workers)
        self._cleanup.callback(_end, process)
        await_true(lambda: _listens(port), name)
        if name != NGINX and workers == 1:
            return Server(name, port, [process.pid], [process.pid])
        await_true(lambda: len(_serving(process.pid)) >= workers, name)
        return Server(name, port, [process.pid, *_serving(process.pid)], _serving(process.pid))

    def _launch_bare(self, port: int, workers: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "benchmarks.bare_uvicorn", str(port), str(workers)])

    def _launch_nginx(self, port: int, workers: int) -> "subprocess.Popen[bytes]":
        folder = self._folder / "nginx"
        folder.mkdir()
        config = folder / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(folder=folder, port=port, workers=workers))
        errors = str(folder / "error.log")
        return subprocess.Popen([need_program("nginx", "nginx"), "-c", str(config), "-p", str(folder), "-e", errors])

    def _edge(self, name: str, key: str, durability: str, campaigns: int, workers: int) -> Server:
        settings = {
            "MILEPOST_DURABILITY": durability,
            "MILEPOST_EDGE_WORKERS": str(workers),
            "MILEPOST_IP_DATA_DIR": str(self._ip_data()),
        }
        root = self._folder / re.sub(r"[^a-z0-9]+", "-", key)
        root.mkdir()
        edge = Edge(DataDir.at(root), self._valkey(campaigns).url, settings)
        process = edge.launch()
        self._cleanup.callback(_end, process)

        def is_ready() -> bool:
            if process.poll() is not None:
                raise NotStarted(f"{key}: {edge.log()[-2000:]}")
            return edge.is_ready() and len(edge.admin("/readyz").json()["workers"]) == workers

        await_true(is_ready, key)
        found = [edge.worker_pid(index) for index in range(workers)]
        return Server(name, edge.port, [process.pid, *found], found, campaigns, edge)

    def _valkey(self, campaigns: int) -> Valkey:
        if campaigns not in self._valkeys:
            folder = self._folder / f"valkey-{campaigns}"
            folder.mkdir()
            self._valkeys[campaigns] = valkey = Valkey(folder)
            self._cleanup.callback(valkey.kill)
            valkey.start()
            rows = list(traffic.rows(campaigns))
            for first in range(0, campaigns, _SEEDED_AT_ONCE):
                valkey.seed(1, rows[first : first + _SEEDED_AT_ONCE])
        return self._valkeys[campaigns]

    def _ip_data(self) -> Path:
        folder = self._folder / "ip"
        if not folder.exists():
            folder.mkdir()
            ip_data.write(folder)
        return folder


def _serving(parent: int) -> list[int]:
    """The worker processes of a peer: of its children, not the bookkeeper that Python's multiprocessing starts."""
    children = psutil.Process(parent).children()
    return [child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_true(holds: Callable[[], bool], name: str) -> None:
    """Raises NotStarted when it does not hold in time."""
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise NotStarted(f"{name} does not answer after {START_SECONDS:.0f} s")
        time.sleep(0.05)
