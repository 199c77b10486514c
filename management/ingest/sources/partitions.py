"""Which partitions this process reads: leases in Postgres, shared evenly by the ingest processes that are alive.

Each looks once in REBALANCE_SECONDS and acts for itself: it lets go of what is more than its share once everything it
read there is stored, and takes, up to its share, what is free, or whose holder is gone or silent. Nobody takes from a
holder that is alive, so two that start together cannot end each other; a lease that another was quicker to take is
left alone until the next look.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from management.db import lease as leases
from management.db.lease import Lease, LeaseLost
from management.db.pool import SoleConnection
from management.db.queries import Queries

REBALANCE_SECONDS: Final = 1.0
_PREFIX: Final = "ingest.partition."
_END_MS: Final = 3_000

queries = Queries("management.ingest.sources", "partitions.sql")

Turn = Callable[[], AbstractAsyncContextManager[SoleConnection]]
"""The connection for as long as the block lasts; nobody else speaks on it meanwhile."""


class Seen(NamedTuple):
    """A partition's lease: its epoch, and whether another process that is alive has it."""

    epoch: int
    taken: bool


class Change(NamedTuple):
    """Partitions to let go of, and partitions to take."""

    let_go: list[int]
    take: list[int]


def fair_change(rank: int, members: int, seen: Mapping[int, Seen], held: Iterable[int]) -> Change:
    """What the member at place `rank` of `members` does to have its share of the partitions in `seen`.

    Shares differ by one at most and add up to all partitions. Pure.
    """
    least, over = divmod(len(seen), members)
    share = least + (rank < over)
    mine = sorted(held)
    free = [partition for partition, lease in sorted(seen.items()) if not lease.taken and partition not in mine]
    # Those that start together begin at different places.
    begin = len(free) * rank // members
    return Change(mine[share:], (free[begin:] + free[:begin])[: max(0, share - len(mine))])


class PartitionLeases:
    """The leases of one process on one connection to Postgres. `check` and `beat` are what a Writer needs of a lease:
    they answer for all partitions that are held."""

    def __init__(self, member: bytes) -> None:
        self._member = member
        self._held: dict[int, Lease] = {}

    @property
    def held(self) -> frozenset[int]:
        return frozenset(self._held)

    async def join(self, connection: SoleConnection) -> None:
        """Be counted among those that share, on this connection; ends this process's former one."""
        await connection.fetch(queries["end_former_self"], self._member, _END_MS)
        await connection.execute(queries["join_members"], self._member)
        await connection.execute(queries["forget_gone_members"])

    async def rebalance(self, connection: SoleConnection, partitions: int) -> list[int]:
        """Take what is due; gives what is to be let go of (`release`) once all that was read there is stored."""
        names = [_PREFIX + str(partition) for partition in range(partitions)]
        rows = await connection.fetch(queries["show_leases"], names, leases.SILENT_SECONDS)
        if len(rows) < partitions:
            await connection.execute(queries["make_leases"], names)
            rows = await connection.fetch(queries["show_leases"], names, leases.SILENT_SECONDS)
        seen = {_partition(row["name"]): Seen(row["epoch"], row["alive"]) for row in rows}
        living = [row["member"] for row in await connection.fetch(queries["living_members"], leases.SILENT_SECONDS)]
        if self._member not in living:  # somebody cleared the table
            await self.join(connection)
            return []
        change = fair_change(living.index(self._member), len(living), seen, self._held)
        for partition in change.take:
            try:
                taken = await Lease.take_from(connection, _PREFIX + str(partition), seen[partition].epoch)
            except LeaseLost:
                continue
            self._held[partition] = taken
        return change.let_go

    async def release(self, connection: SoleConnection, partition: int) -> None:
        """Let another have it at once. Nothing of it may be on its way to Postgres."""
        lease = self._held.pop(partition, None)
        if lease is not None:
            await connection.execute(queries["let_go"], lease.name, lease.epoch)

    async def leave(self, connection: SoleConnection) -> None:
        """Let go of everything, and be counted no more."""
        for partition in sorted(self._held):
            await self.release(connection, partition)
        await connection.execute(queries["leave_members"], self._member)

    async def check(self, connection: SoleConnection) -> None:
        """Inside a transaction: from here to its end nobody can take any of them. Raises LeaseLost."""
        self._compare(
            {row["name"]: row["epoch"] for row in await connection.fetch(queries["share_leases"], self._names)}
        )

    async def beat(self, connection: SoleConnection) -> None:
        """A sign of life and a look, without locks. Raises LeaseLost."""
        self._compare(
            {row["name"]: row["epoch"] for row in await connection.fetch(queries["compare_leases"], self._names)}
        )

    @property
    def _names(self) -> list[str]:
        return [lease.name for lease in self._held.values()]

    def _compare(self, found: Mapping[str, int]) -> None:
        lost = [lease.name for lease in self._held.values() if found.get(lease.name) != lease.epoch]
        if lost:
            raise LeaseLost(f"another process took {', '.join(sorted(lost))}")


class SharedPartitions:
    """The leases on a connection that others speak on too, as a source needs them."""

    def __init__(self, leases: PartitionLeases, turn: Turn) -> None:
        self._leases = leases
        self._turn = turn

    @property
    def held(self) -> frozenset[int]:
        return self._leases.held

    async def rebalance(self, partitions: int) -> list[int]:
        async with self._turn() as connection:
            return await self._leases.rebalance(connection, partitions)

    async def release(self, partition: int) -> None:
        async with self._turn() as connection:
            await self._leases.release(connection, partition)

    async def leave(self) -> None:
        """Let go of everything; nothing may be on its way to Postgres any more."""
        async with self._turn() as connection:
            await self._leases.leave(connection)


def _partition(name: str) -> int:
    return int(name.removeprefix(_PREFIX))
