"""A lease: at most one process at a time writes for a name (`ingest`, `fold`), whatever froze, was cut off or restarted.

    lease = await Lease.take(connection, "fold")        # ends the old holder's backend, then raises the epoch
    async with connection.transaction():
        await lease.check(connection)                   # LeaseLost, or nobody can take it before this commits
        ...
    lease = await lease.resume(new_connection)          # after a reconnect: LeaseLost when another took it meanwhile

The epoch decides, under the row's lock: a transaction that checked commits before the next `take` returns, and a
transaction that checks after it fails. Ending the backend only keeps a frozen holder's locks from being waited for.

Two processes that both `take` whenever they start would end each other for ever once a supervisor restarts the
loser. So a starting process first asks `holder_is_alive` and waits while it is; a holder keeps alive by any statement
once in `SIGN_OF_LIFE_SECONDS` (`beat` when it has nothing else to say).
"""

from dataclasses import dataclass

from management.db.pool import SoleConnection
from management.db.queries import Queries

SIGN_OF_LIFE_SECONDS = 1.0
"""A holder's backend is given a statement at least this often."""
SILENT_SECONDS = 5.0
"""A holder that was silent for so long is frozen or cut off, and may be ended."""
_END_MS = 3_000

queries = Queries("management.db", "lease.sql")


class LeaseLost(Exception):
    """Another process took the lease; this one must not write any more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write under `name`, until somebody raises the epoch further."""

    name: str
    epoch: int

    @classmethod
    async def take(cls, connection: SoleConnection, name: str) -> "Lease":
        """Take the lease from whoever has it. Raises what the connection raises; `connection` is in no transaction."""
        await connection.execute(queries["make_lease"], name)
        # Without a lock first: the holder may be frozen in a transaction that shares the row. In a transaction of its
        # own, because pg_stat_activity shows one state for a whole transaction.
        await connection.fetch(queries["end_holder"], name, _END_MS, None)
        return await cls._raise(connection, name, expected=None)

    @classmethod
    async def take_from(cls, connection: SoleConnection, name: str, epoch: int) -> "Lease":
        """Take the lease from its holder at `epoch` and from nobody else; raises LeaseLost when it has another one."""
        await connection.fetch(queries["end_holder"], name, _END_MS, epoch)
        return await cls._raise(connection, name, expected=epoch)

    async def resume(self, connection: SoleConnection) -> "Lease":
        """The lease for a new connection of the same process; raises LeaseLost when another took it since."""
        await self.beat(connection)
        # What may still live under this epoch is the process's own former connection.
        return await self.take_from(connection, self.name, self.epoch)

    @classmethod
    async def _raise(cls, connection: SoleConnection, name: str, *, expected: int | None) -> "Lease":
        async with connection.transaction():
            epoch: int = await connection.fetchval(queries["lock_lease"], name)
            if expected is not None and epoch != expected:
                raise LeaseLost(_lost(name, expected, epoch))
            # Somebody may have taken it between the first look and the lock.
            await connection.fetch(queries["end_holder"], name, _END_MS, None)
            return cls(name, await connection.fetchval(queries["raise_epoch"], name))

    async def check(self, connection: SoleConnection) -> None:
        """Inside a transaction: from here to its end nobody can take the lease. Raises LeaseLost."""
        self._compare(await connection.fetchval(queries["share_lease"], self.name))

    async def beat(self, connection: SoleConnection) -> None:
        """A sign of life of a holder with nothing to do, and a look, without a lock. Raises LeaseLost."""
        self._compare(await connection.fetchval(queries["show_lease"], self.name))

    def _compare(self, epoch: int | None) -> None:
        if epoch != self.epoch:
            raise LeaseLost(_lost(self.name, self.epoch, epoch))


async def holder_is_alive(connection: SoleConnection, name: str) -> bool:
    """Whether another backend has the lease and said something within the last SILENT_SECONDS."""
    silent_for: float | None = await connection.fetchval(queries["holder_silent_for"], name)
    return silent_for is not None and silent_for < SILENT_SECONDS


def _lost(name: str, held: int, found: int | None) -> str:
    return f"another process took the lease {name!r}: epoch {held} was held, {found} is the present one"
