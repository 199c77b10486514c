"""The process `milepost fold`: batch after batch while there are deltas, a look every 50 ms while there are none."""

import asyncio
import signal
from collections.abc import Awaitable

import asyncpg
import structlog

from management.db.keyring import load_key_ring
from management.db.lease import Lease, LeaseLost, holder_is_alive
from management.db.pool import INGEST_ROLE, UNREACHABLE, SoleConnection, connect, role_url
from management.db.queries import Queries
from management.fold.batch import fold_batch
from shared.env import Settings
from shared.garbage import collect_rarely

IDLE_SECONDS = 0.05
WAIT_SECONDS = 1.0
"""Between two looks at whether the holder of the lease is still alive."""
FINISH_SECONDS = 10.0
"""How long a stopping process goes on with what is already there."""
LOST = 3
"""Exit status of a process whose lease another one took."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_LEASE = "fold"

# A transaction that lost a race (against a take-over, or a lock held too long) left nothing behind and may come again.
_AGAIN = (
    *UNREACHABLE,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)

queries = Queries("management.fold", "work.sql")
log = structlog.get_logger()


async def run(settings: Settings) -> int:
    """Fold until SIGTERM; Postgres may come and go. Returns the exit status: 0, or 3 when the lease was lost."""
    assert settings.database_url is not None
    url = role_url(settings.database_url, INGEST_ROLE, load_key_ring(settings, create=False))
    collect_rarely()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await Folder(url, stop).run()


class Folder:
    """One process's life: connections come and go, the lease is taken once and kept."""

    def __init__(self, url: str, stop: asyncio.Event) -> None:
        self._url = url
        self._stop = stop
        self._lease: Lease | None = None
        self._pause = _FIRST_PAUSE

    async def run(self) -> int:
        """Exit status."""
        while True:
            try:
                await self._connected()
                return 0
            except LeaseLost as error:
                log.error("lease_lost", error=str(error))
                return LOST
            except _AGAIN as error:
                log.warning("postgres_unreachable", error=str(error) or type(error).__name__, retry_seconds=self._pause)
            if self._stop.is_set():
                return 0
            await self._sleep(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _connected(self) -> None:
        connection = await connect(self._url, application="milepost fold")
        try:
            lease = await self._hold(connection)
            if lease is None:
                return
            while not self._stop.is_set():
                await self._drain(connection, lease, until_stop=True)
                await self._sleep(IDLE_SECONDS)
            await self._finish(self._drain(connection, lease, until_stop=False))
        finally:
            connection.terminate()

    async def _hold(self, connection: SoleConnection) -> Lease | None:
        """The lease; None when told to stop while another process had it."""
        if self._lease is not None:
            self._lease = await self._lease.resume(connection)
            return self._lease
        waited = False
        while await holder_is_alive(connection, _LEASE):
            if not waited:
                log.info("waiting_for_lease", lease=_LEASE)
                waited = True
            await self._sleep(WAIT_SECONDS)
            if self._stop.is_set():
                return None
        self._lease = await Lease.take(connection, _LEASE)
        log.info("lease_taken", lease=_LEASE, epoch=self._lease.epoch)
        return self._lease

    async def _drain(self, connection: SoleConnection, lease: Lease, *, until_stop: bool) -> None:
        """Fold until nothing is there, or until told to stop."""
        await lease.beat(connection)
        while await connection.fetchval(queries["any_delta"]):
            await fold_batch(connection, lease)
            self._pause = _FIRST_PAUSE
            if until_stop and self._stop.is_set():
                return

    async def _finish(self, rest: Awaitable[None]) -> None:
        try:
            await asyncio.wait_for(rest, FINISH_SECONDS)
        except TimeoutError:
            # The batch in work is undone; its deltas wait for the next start.
            log.warning("stopped_with_deltas_left", seconds=FINISH_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
