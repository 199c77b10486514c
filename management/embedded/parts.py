"""The parts of milepost that `milepost up` runs beside the servers: which program, when it is ready, how it ends."""

import asyncio
import contextlib
import os
import signal
import site
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import management
from management.embedded import leftovers
from management.embedded.process import Child, Launch
from shared.data_dir import DataDir
from shared.env import Settings, as_environment

_ASK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised program.

    `stop_stage`: parts of a lower stage have ended before those of a higher one are asked to. `stop_seconds`: from
    SIGTERM to SIGKILL. `ready` answers whether it serves; without one a part is up once it has lived for a second.
    `listener` is the descriptor of the public socket, for the one part that inherits it.
    """

    name: str
    argv: tuple[str, ...]
    stop_stage: int
    stop_seconds: float
    ready: Callable[[], Awaitable[bool]] | None = None
    listener: int | None = None


def default_parts(settings: Settings, listener: int) -> tuple[Part, ...]:
    """The edge, ingest, fold, API and jobs, with Kafka the shipper too; they end edge first, so that what it journaled
    last is still taken in: shipped, stored, folded, in this order."""

    def edge_ready() -> Awaitable[bool]:
        return answers_ok("127.0.0.1", settings.edge_admin_port, "/readyz", "localhost")

    def api_ready() -> Awaitable[bool]:
        return answers_ok(settings.api_host, settings.api_port, "/healthz", settings.api_hosts[0])

    def cli(name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "management.cli", name)

    edge_argv = (sys.executable, "-m", "edge", "--fd", str(listener))
    # It sends for 5 s and closes for 2 at most, so a broker that is away does not hold up the end.
    ship = Part("ship", (sys.executable, "-m", "edge.shipper"), stop_stage=1, stop_seconds=15.0)
    return (
        Part("edge", edge_argv, stop_stage=0, stop_seconds=20.0, ready=edge_ready, listener=listener),
        *((ship,) if settings.kafka_bootstrap else ()),
        Part("ingest", cli("ingest"), stop_stage=2, stop_seconds=30.0),
        Part("fold", cli("fold"), stop_stage=3, stop_seconds=30.0),
        Part("api", cli("api"), stop_stage=1, stop_seconds=15.0, ready=api_ready),
        Part("jobs", cli("jobs"), stop_stage=1, stop_seconds=15.0),
    )


def part_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every part, `settings` having the servers' URLs already.

    The packages have plain names (`edge`, `shared`), so a folder of that name below the user's working directory must
    not be imported in their place: that directory stays out of the module path, also for what a part starts itself.
    """
    root = str(Path(management.__file__).parents[1])
    paths = [environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else []
    if root not in site.getsitepackages():
        paths.insert(0, root)
    urls = {
        "MILEPOST_DATABASE_URL": settings.database_url or "",
        "MILEPOST_REDIS_URL": settings.redis_url or "",
    }
    found_there = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return as_environment(settings, environ) | urls | found_there


class PartProcess:
    """The process of one part in this life of `milepost up`, which may be started again and again."""

    def __init__(self, part: Part, data_dir: DataDir, environ: Mapping[str, str]) -> None:
        self.name = part.name
        self.part = part
        self._data_dir = data_dir
        self._launch = Launch(
            part=part.name,
            argv=part.argv,
            environ=environ,
            pass_fds=() if part.listener is None else (part.listener,),
            stop_steps=((signal.SIGTERM, part.stop_seconds),),
        )
        self._child: Child | None = None
        self._born = 0.0

    async def start(self) -> None:
        """Starts the program once nothing of its earlier processes is left; does not wait until it is ready."""
        await leftovers.end(self._data_dir, self.name)
        self._child = self._launch.start(self._data_dir)
        self._child.write_pid_file(self._data_dir)
        self._born = asyncio.get_running_loop().time()

    async def is_ready(self) -> bool:
        if self._child is None or not self._child.running:
            return False
        if self.part.ready is not None:
            return await self.part.ready()
        return asyncio.get_running_loop().time() - self._born >= 1.0

    async def exited(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._child.exited()

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        if self._child is not None:
            await self._child.stop(hurry)


async def answers_ok(host: str, port: int, path: str, host_header: str) -> bool:
    """Whether GET `path` answers 200 within two seconds; a wildcard address is asked on loopback."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{host_header}]" if ":" in host_header else host_header
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                return (await reader.readline()).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return False
