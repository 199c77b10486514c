"""The edge's supervisor: owns the public socket, keeps the workers running, answers the admin port for all of them.

A worker that died is started again on the same socket, so its end resets no connection but its own.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Final

import orjson
import structlog
import uvicorn

from edge.admin import admin_app
from edge.metrics import EdgeMetrics
from edge.server import BACKLOG, DRAIN_SECONDS, Server
from edge.settings import EdgeSettings
from shared.data_dir import write_private
from shared.journal import read_losses, streams

log = structlog.get_logger("edge.supervisor")

FRESH_SECONDS: Final = 3.0
"""A report older than this says nothing about its worker any more."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""A worker that lived this long is started again without delay."""
_LONGEST_LINE: Final = 1 << 20


class Supervisor:
    """Starts `MILEPOST_EDGE_WORKERS` workers and runs until SIGTERM or SIGINT."""

    def __init__(self, edge: EdgeSettings, listener: socket.socket) -> None:
        self._edge = edge
        self._listener = listener
        self._stopping = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._reports: dict[int, tuple[float, dict[str, Any]]] = {}
        self._counts_of_dead: Counter[str] = Counter()
        self._restarts = 0

    async def run(self) -> int:
        """The exit status: 0 after an orderly end, 1 when the admin port cannot be had."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._edge.data_dir.run.mkdir(parents=True, exist_ok=True)
        self._edge.data_dir.journal.mkdir(parents=True, exist_ok=True)

        admin = self._admin_server()
        try:
            admin_socket = _bound("127.0.0.1", self._edge.settings.edge_admin_port)
        except OSError as error:
            log.error("admin port not available", port=self._edge.settings.edge_admin_port, reason=str(error))
            return 1
        serving = asyncio.create_task(admin.serve(sockets=[admin_socket]))
        workers = [asyncio.create_task(self._keep(index)) for index in range(self._edge.settings.edge_workers)]
        await self._stopping.wait()
        # Ours is closed first: what still stands in the accept queue is the workers' to take.
        self._listener.close()
        await self._stop_workers(workers)
        admin.should_exit = True
        await serving
        return 0

    async def _keep(self, index: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        pid_file = self._edge.data_dir.pid_file(f"edge-{index}")
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                process, reports = await self._start(index)
            except OSError as error:
                # No process, no pipe, no memory just now: the machine may have them again in a moment.
                log.error("worker cannot be started, it is tried again", worker=index, reason=str(error))
                pause = LONGEST_PAUSE_SECONDS
                await self._rest(pause)
                continue
            self._processes[index] = process
            try:
                write_private(pid_file, f"{process.pid}\n")
            except OSError as error:
                # On a full disk a worker without its pid in a file is worth more than none.
                log.error("pid file not written", worker=index, reason=str(error))
            await self._listen(index, reports)
            status = await process.wait()
            del self._processes[index]
            self._bury(index)
            if self._stopping.is_set():
                break
            self._restarts += 1
            lived = time.monotonic() - started
            pause = FIRST_PAUSE_SECONDS if lived >= STEADY_SECONDS else min(pause * 2, LONGEST_PAUSE_SECONDS)
            log.error("worker ended, it is started again", worker=index, status=status, lived=round(lived, 1))
            await self._rest(pause)
        pid_file.unlink(missing_ok=True)

    async def _rest(self, seconds: float) -> None:
        """For so long, or until it is time to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _start(self, index: int) -> tuple[asyncio.subprocess.Process, asyncio.StreamReader]:
        reading, writing = os.pipe()
        listening = self._listener.fileno()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "edge", "--worker", str(index), "--fd", str(listening),
                "--report-fd", str(writing), "--parent", str(os.getpid()),
                pass_fds=(listening, writing), stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        loop = asyncio.get_running_loop()
        reports = asyncio.StreamReader(limit=_LONGEST_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reports), os.fdopen(reading, "rb", 0))
        return process, reports

    async def _listen(self, index: int, reports: asyncio.StreamReader) -> None:
        """Take in the worker's reports until it closes its end of the pipe, which it does when it dies."""
        while line := await _line(reports):
            if line.endswith(b"\n"):
                self._reports[index] = (time.monotonic(), orjson.loads(line))

    def _bury(self, index: int) -> None:
        last = self._reports.pop(index, None)
        if last is not None:
            self._counts_of_dead.update(last[1]["counters"])

    async def _stop_workers(self, workers: list[asyncio.Task[None]]) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        _, slow = await asyncio.wait(workers, timeout=DRAIN_SECONDS + 5)
        if slow:
            for index, process in self._processes.items():
                log.error("worker did not end in time, it is killed", worker=index)
                with suppress(ProcessLookupError):
                    process.kill()
        await asyncio.gather(*workers)

    def reports(self) -> dict[int, dict[str, Any]]:
        """Fresh reports by worker."""
        now = time.monotonic()
        return {index: report for index, (at, report) in self._reports.items() if now - at < FRESH_SECONDS}

    def metrics(self) -> EdgeMetrics:
        counts = Counter(self._counts_of_dead)
        for _, report in self._reports.values():
            counts.update(report["counters"])
        return EdgeMetrics(self.reports(), counts, len(self._processes), self._restarts, self._declared_losses())

    def _declared_losses(self) -> int:
        return sum(read_losses(path) for path in streams(self._edge.data_dir.journal))

    def _admin_server(self) -> Server:
        return Server(
            uvicorn.Config(
                admin_app(self),
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )


async def _line(reports: asyncio.StreamReader) -> bytes:
    """The next line, b"" at the end, or when what comes is none of ours."""
    try:
        return await reports.readline()
    except ValueError as error:
        log.error("a worker's report is too long", reason=str(error))
        return b""


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def public_listener(edge: EdgeSettings, fd: int | None) -> socket.socket:
    """The public socket: inherited as `fd`, or bound here. Raises OSError."""
    if fd is not None:
        return socket.socket(fileno=fd)
    return _bound(edge.settings.edge_host, edge.settings.edge_port)
