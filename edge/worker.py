"""One worker: a journal of its own, a routing table, and the server on the inherited socket.

It ends in order on SIGTERM (status 0), and by itself when the journal fails (status 1): what a failed sync left
behind cannot be known, so its successor begins a new stream.
"""

import asyncio
import ctypes
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, cast

import orjson
import structlog
import uvicorn
import uvloop

from edge.app import EdgeApp
from edge.budget import SourceRate, StrangerBudget
from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from edge.click import ClickCore
from edge.click_request import RequestReader
from edge.client_ip import TrustedProxies
from edge.clock import Clock
from edge.connections import Connections
from edge.counters import Counters
from edge.hosts import Hosts
from edge.links import Links
from edge.postback_handler import PostbackHandler
from edge.protocol import EdgeProtocol, Site, protocol_of
from edge.routing_table import RoutingTable
from edge.server import BACKLOG, DRAIN_SECONDS, Server
from edge.settings import EdgeSettings
from edge.strangers import Strangers
from shared.ids import ClickIds
from shared.journal import JournalLimits, JournalWriter

log = structlog.get_logger("edge.worker")

REPORT_SECONDS: Final = 0.5
IP_DATA_SECONDS: Final = 2.0
FIRST_TABLE_SECONDS: Final = 2.0
"""How long a worker without a copy on disk waits for its first table before it takes connections."""
_PR_SET_PDEATHSIG: Final = 1


class Worker:
    """Puts the parts together and runs them until told to stop."""

    def __init__(self, edge: EdgeSettings, index: int, listener: socket.socket, report_fd: int) -> None:
        self._edge = edge
        self._index = index
        self._listener = listener
        self._reports = ReportPipe(report_fd)
        self._counters = Counters()
        self._failed = False
        self._server: Server | None = None

    async def run(self) -> int:
        """The exit status, once everything that was accepted is answered and committed."""
        settings = self._edge.settings
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        journal = JournalWriter.open(
            self._edge.data_dir.journal,
            settings.durability,
            limits=JournalLimits(settings.journal_max, settings.disk_reserve),
            on_failure=lambda error: self._journal_failed(error, stop),
        )
        routing = RoutingTable(
            settings.redis_url,
            self._edge.data_dir.routing_copy,
            journal.stream.hex(),
            self._counters,
            writes_copy=self._index == 0,
        )
        network_data = await asyncio.to_thread(NetworkData, settings.ip_data_dir)
        await routing.load_copy()
        background = [
            asyncio.create_task(_kept_running("routing table", routing.run)),
            asyncio.create_task(_kept_running("ip data", lambda: _reload_ip_data(network_data))),
            asyncio.create_task(
                _kept_running("report", lambda: self._report_for_ever(journal, routing, network_data, stop))
            ),
        ]
        with suppress(TimeoutError):
            await asyncio.wait_for(routing.filled.wait(), FIRST_TABLE_SECONDS)
        self._server, connections = self._make_server(journal, routing, network_data)
        # Every one of them is an instance of `protocol_of`; uvicorn only knows that it is one of its own kinds.
        open_ones = cast("set[EdgeProtocol]", self._server.server_state.connections)
        background.append(asyncio.create_task(_kept_running("sweep", lambda: connections.sweep_for_ever(open_ones))))
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        log.info("worker serves", stream=journal.stream.hex(), pid=os.getpid())
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        await asyncio.wait((serving, asyncio.create_task(stop.wait())), return_when=asyncio.FIRST_COMPLETED)
        self._server.should_exit = True
        await serving

        await _cancelled(background)
        await routing.close()
        await journal.close()
        self._reports.send(self._report(journal, routing, network_data))
        return 1 if self._failed else 0

    def _make_server(
        self, journal: JournalWriter, routing: RoutingTable, network_data: NetworkData
    ) -> tuple[Server, Connections]:
        settings = self._edge.settings
        click_ids = ClickIds(self._edge.key_ring)
        proxies = TrustedProxies(settings.trusted_proxies)
        reader = RequestReader(proxies)
        core = ClickCore(Classifier(UserAgents(), network_data), click_ids, reader, settings.ip_storage)
        strangers = Strangers(journal, StrangerBudget(), settings.ip_storage, self._counters)
        clock = Clock()
        links = Links(core, routing, journal, self._counters, strangers, clock, settings.on_disk_full)
        connections = Connections(settings.edge_connections_per_address, proxies)
        site = Site(links, Hosts(settings.edge_url, settings.edge_host), connections, self._counters)
        rate = SourceRate(settings.postback_rate)
        postbacks = PostbackHandler(
            routing, journal, click_ids, reader, self._counters, settings.ip_storage, rate, strangers, clock
        )
        return Server(
            uvicorn.Config(
                EdgeApp(postbacks, self._counters),
                loop="uvloop",
                http=protocol_of(site),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        ), connections

    def _journal_failed(self, error: BaseException, stop: asyncio.Event) -> None:
        self._failed = True
        stop.set()
        # A disk that takes no journal may take no log either.
        with suppress(OSError):
            log.error("journal failed, worker ends", reason=repr(error))

    async def _report_for_ever(
        self, journal: JournalWriter, routing: RoutingTable, network_data: NetworkData, stop: asyncio.Event
    ) -> None:
        while True:
            if not self._reports.send(self._report(journal, routing, network_data)):
                stop.set()
                return
            await asyncio.sleep(REPORT_SECONDS)

    def _report(self, journal: JournalWriter, routing: RoutingTable, network_data: NetworkData) -> dict[str, object]:
        table = routing.current
        status = network_data.status()
        return {
            "pid": os.getpid(),
            "stream": journal.stream.hex(),
            "ready": table is not None and not self._failed and self._server is not None,
            "version": table.version if table is not None else None,
            "generation": table.generation if table is not None else None,
            "confirmed_at": routing.confirmed_at,
            "campaigns": len(table.by_id) if table is not None else 0,
            "unreadable_rows": table.unreadable if table is not None else 0,
            "synced_seq": journal.synced_seq,
            "synced_at": time.time() - (time.monotonic() - journal.last_sync_at),
            "journal_full": journal.is_full,
            "declared_losses": journal.declared_losses,
            "abandoned_segments": journal.abandoned_segments,
            "ip_data": status.summary,
            "ip_files": {file.name: {"as_of": file.as_of, "problem": file.problem} for file in status.files},
            "counters": self._counters.snapshot(),
        }


class ReportPipe:
    """Lines of JSON to the supervisor. Never waits for it: a line that does not fit now is left out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        os.set_blocking(descriptor, False)

    def send(self, report: dict[str, object]) -> bool:
        """False when the supervisor is gone."""
        line = self._rest or orjson.dumps(report) + b"\n"
        try:
            written = os.write(self._descriptor, line)
        except BlockingIOError:
            written = 0
        except BrokenPipeError:
            return False
        # A line that was begun must be finished before the next one; one that was not is out of date by then.
        self._rest = line[written:] if written else self._rest
        return True


async def _kept_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a background part again after an error of the program: serving goes on without it meanwhile."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("background part failed, it is started again", part=name)
            await asyncio.sleep(1)
        else:
            return


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until they end: before Python 3.12 `asyncio.wait_for`, which the Redis client uses, may swallow one
    cancellation when its answer arrives in the same step."""
    while open_tasks := [task for task in tasks if not task.done()]:
        for task in open_tasks:
            task.cancel()
        await asyncio.wait(open_tasks, timeout=0.5)


async def _reload_ip_data(network_data: NetworkData) -> None:
    while True:
        await asyncio.sleep(IP_DATA_SECONDS)
        await asyncio.to_thread(network_data.reload_if_changed)


def die_with(parent: int) -> bool:
    """Ask the kernel for SIGTERM when the parent dies; False when it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    return os.getppid() == parent


def run_worker(edge: EdgeSettings, index: int, fd: int, report_fd: int, parent: int) -> int:
    """The worker's whole life; gives its exit status."""
    if not die_with(parent):
        return 1
    listener = socket.socket(fileno=fd)
    return uvloop.run(Worker(edge, index, listener, report_fd).run())
