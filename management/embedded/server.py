"""What the two embedded servers share: one process on one loopback port, ready when it answers, ended in order."""

import asyncio
from abc import ABC, abstractmethod

from management.embedded import leftovers
from management.embedded.failure import StartError
from management.embedded.logs import log_file
from management.embedded.ports import free_loopback_port, is_free
from management.embedded.process import Child
from management.embedded.secret import server_password
from shared.data_dir import DataDir

_SHORTEST_POLL, _LONGEST_POLL = 0.02, 0.25  # seconds; Postgres logs each ping that comes too early
_PORT_TRIES = 3


class EmbeddedServer(ABC):
    """One server for one data directory. It keeps its port from one start of the object to the next.

    So the connection pools of its clients find it again after a restart.
    """

    name: str
    ready_seconds: float

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._port: int | None = None
        self._password = ""
        self._child: Child | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where and as whom clients connect; valid from the first start on."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(self) -> str:
        """Starts the server once what an earlier life left running is ended; gives its URL as soon as it answers.

        Raises StartError. From the main thread only.
        """
        if self.pid is not None:
            raise RuntimeError(f"{self.name} is running already")
        self._data_dir.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        await leftovers.end(self._data_dir, self.name)
        self._password, password_is_new = server_password(self._data_dir, self.name)
        await self._prepare(password_is_new)
        for _ in range(_PORT_TRIES):
            port = self._port or free_loopback_port()
            self._child = self._spawn(port)
            self._child.write_pid_file(self._data_dir)
            if await self._answers(self._child, port):
                self._port = port
                return self.url
            if self._port is not None or is_free(port):
                break  # it was not the port
        raise StartError(f"{self.name} ended as soon as it was started", log_file(self._data_dir, self.name))

    async def exited(self) -> int:
        """The exit status of the started server once it ends, negative for a signal."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._child.exited()

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Ends the server by its stop steps, each shortened to a second once `hurry` is set."""
        if self._child is not None:
            await self._child.stop(hurry)

    @abstractmethod
    async def _prepare(self, password_is_new: bool) -> None:
        """Makes what the server needs on disk; nothing runs on its files meanwhile."""

    @abstractmethod
    def _spawn(self, port: int) -> Child:
        """The process, just started."""

    @abstractmethod
    async def _ping(self, port: int) -> bool:
        """Whether a server on `port` is ready for clients; has its own short deadline."""

    async def _answers(self, child: Child, port: int) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.ready_seconds
        pause = _SHORTEST_POLL
        while loop.time() < deadline:
            if await self._ping(port):
                return child.running
            if not child.running:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
        raise StartError(
            f"{self.name} did not answer within {self.ready_seconds:g} s", log_file(self._data_dir, self.name)
        )
