"""`milepost up`: everything on one machine, as children of one process that starts, keeps and stops them in order."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import orjson

from management.embedded import leftovers, ports
from management.embedded.claim import claimed
from management.embedded.failure import StartError
from management.embedded.fleet import Fleet, cancelled
from management.embedded.logs import bound_logs, last_lines, log_file
from management.embedded.parts import Part, PartProcess, default_parts, part_environ
from management.embedded.postgres import EmbeddedPostgres
from management.embedded.process import Launch, run_once
from management.embedded.terminal import Terminal
from management.embedded.valkey import EmbeddedValkey
from shared.data_dir import DataDir, write_private
from shared.env import Settings

# Makes the first owner if there is none, given settings with the servers' URLs; the text that shows their login, once.
FirstStart = Callable[[Settings], Awaitable[str | None]]
# What should be changed about this installation, a sentence each; shown, never a reason not to run.
Findings = Callable[[Settings], Awaitable[Sequence[str]]]
# The parts to run, given the settings and the descriptor of the public listening socket.
ListParts = Callable[[Settings, int], Sequence[Part]]

MIGRATE = (sys.executable, "-m", "management.cli", "migrate")
_MIGRATE_SECONDS = 1800.0
_FIRST_START_SECONDS = 60.0
_FINDINGS_SECONDS = 20.0
_LOG_SWEEP_SECONDS = 10.0
_LOG_LINES = 20
_VALKEY_STAGE, _POSTGRES_STAGE = 100, 101  # after every part


def run(
    settings: Settings,
    first_start: FirstStart | None = None,
    list_parts: ListParts = default_parts,
    migrate: tuple[str, ...] = MIGRATE,
    findings: Findings | None = None,
) -> int:
    """Runs milepost until SIGINT, SIGTERM or SIGHUP; gives the exit status of the command.

    0 after an orderly stop; 1, after one sentence on standard error, if the data directory is in use, a port is taken
    or something does not start. From the main thread only.
    """
    terminal = Terminal()
    data_dir = DataDir.at(settings.data_dir)
    try:
        with claimed(data_dir):
            supervisor = Supervisor(settings, data_dir, terminal, list_parts, migrate, first_start, findings)
            asyncio.run(supervisor.run())
    except StartError as error:
        log = last_lines(error.log, _LOG_LINES) if error.log is not None else []
        terminal.fail(str(error), str(error.log), log)
        return 1
    return 0


class Supervisor:
    """One life of `milepost up` on a data directory that the caller holds."""

    def __init__(
        self,
        settings: Settings,
        data_dir: DataDir,
        terminal: Terminal,
        list_parts: ListParts,
        migrate: tuple[str, ...],
        first_start: FirstStart | None,
        findings: Findings | None,
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir
        self._terminal = terminal
        self._list_parts = list_parts
        self._migrate_argv = migrate
        self._first_start = first_start
        self._findings = findings
        self._fleet = Fleet(data_dir, terminal.say)
        self._listener: socket.socket | None = None
        self._stop_asked = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Starts everything, waits until a signal asks for the end, stops everything; raises StartError."""
        self._take_signals()
        living = asyncio.create_task(self._live())
        stop_asked = asyncio.create_task(self._until_stop_asked())
        try:
            await asyncio.wait({living, stop_asked}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
        finally:
            await cancelled(living, stop_asked)
            await self._stop()

    async def _live(self) -> None:
        await self._end_leftovers()
        listener = self._take_ports()
        await self._start_servers()
        self._write_endpoints()
        await self._migrate()
        await self._make_owner()
        await self._start_parts(listener)
        self._fleet.watch(self._sweep_logs())
        await self._warn()
        self._announce()
        await self._fleet.until_failure()

    async def _stop(self) -> None:
        something_runs = not self._fleet.empty
        if something_runs:
            self._terminal.say("Stopping …")
        if self._listener is not None:
            self._listener.close()  # before the edge closes its copy, so that no connection is left unanswered
        await self._fleet.stop(self._hurry)
        self._data_dir.endpoints.unlink(missing_ok=True)
        if something_runs:
            self._terminal.say("Stopped.")

    async def _end_leftovers(self) -> None:
        for name in await leftovers.end_all(self._data_dir):
            self._terminal.say(f"{name} was left from an earlier start and has been ended")

    def _take_ports(self) -> int:
        settings = self._settings
        self._listener = ports.listen(settings.edge_host, settings.edge_port, "MILEPOST_EDGE")
        ports.check_free(settings.api_host, settings.api_port, "MILEPOST_API")
        ports.check_free("127.0.0.1", settings.edge_admin_port, "MILEPOST_EDGE_ADMIN")
        return self._listener.fileno()

    async def _start_servers(self) -> None:
        if self._settings.database_url is None:
            postgres = EmbeddedPostgres(self._data_dir)
            with self._terminal.step("Starting Postgres"):
                await self._fleet.start(postgres, _POSTGRES_STAGE)
            self._settings = replace(self._settings, database_url=postgres.url)
        if self._settings.redis_url is None:
            valkey = EmbeddedValkey(self._data_dir)
            with self._terminal.step("Starting Valkey"):
                await self._fleet.start(valkey, _VALKEY_STAGE)
            self._settings = replace(self._settings, redis_url=valkey.url)

    def _write_endpoints(self) -> None:
        names = ("database_url", "redis_url", "edge_url", "api_url")
        endpoints = {name: getattr(self._settings, name) for name in names}
        write_private(self._data_dir.endpoints, orjson.dumps(endpoints, option=orjson.OPT_INDENT_2).decode() + "\n")

    async def _migrate(self) -> None:
        launch = Launch("migrate", self._migrate_argv, part_environ(self._settings, os.environ))
        log = log_file(self._data_dir, "migrate")
        with self._terminal.step("Bringing the database up to date"):
            status, _ = await run_once(launch, self._data_dir, _MIGRATE_SECONDS)
            if status != 0:
                raise StartError(f"the database could not be brought up to date, see {log}", log)

    async def _make_owner(self) -> None:
        if self._first_start is None:
            return
        try:
            async with asyncio.timeout(_FIRST_START_SECONDS):
                login = await self._first_start(self._settings)
        except TimeoutError as error:
            raise StartError(f"the first owner could not be made within {_FIRST_START_SECONDS:g} s") from error
        if login is not None:
            self._show_login(login)

    def _show_login(self, login: str) -> None:
        if self._terminal.interactive:
            self._terminal.say(f"\nThe owner's login, shown only now:\n{login}\n")
            return
        path = self._data_dir.secrets / "owner-login"
        write_private(path, f"{login}\n")
        self._terminal.say(f"The owner's login is in {path}")

    async def _start_parts(self, listener: int) -> None:
        environ = part_environ(self._settings, os.environ)
        parts = [PartProcess(part, self._data_dir, environ) for part in self._list_parts(self._settings, listener)]
        with self._terminal.step("Starting " + ", ".join(process.name for process in parts)):
            for process in parts:
                await self._fleet.start(process, process.part.stop_stage)
            for process in parts:
                await self._fleet.until_ready(process)

    async def _sweep_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_SWEEP_SECONDS)
            bound_logs(self._data_dir)

    async def _warn(self) -> None:
        if self._findings is None:
            return
        try:
            async with asyncio.timeout(_FINDINGS_SECONDS):
                found = await self._findings(self._settings)
        except TimeoutError:
            found = [f"`milepost doctor` was not done within {_FINDINGS_SECONDS:g} s"]
        for sentence in found:
            self._terminal.say(f"warning: {sentence}")

    def _announce(self) -> None:
        settings = self._settings
        self._terminal.say(
            "milepost is running, Ctrl-C stops it.\n"
            f"  links   {settings.edge_url}\n"
            f"  API     {settings.api_url} (described at {settings.api_url}/docs)\n"
            f"  admin   http://127.0.0.1:{settings.edge_admin_port}/readyz"
        )

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started by nohup
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    async def _until_stop_asked(self) -> None:
        await self._stop_asked.wait()
