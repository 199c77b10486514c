"""One batch of folding: one transaction, from the lease's check to the last roll-up."""

from dataclasses import dataclass

from management.db.lease import Lease
from management.db.pool import SoleConnection
from management.db.queries import Queries
from management.fold import clicks, conversions

queries = Queries("management.fold", "work.sql")

CLICKS = 5_000
"""Deltas of clicks in a batch. 2,000 to 20,000 cost the same to a few percent; this one commits every 0.2 s."""
POSTBACKS = 2_000
"""Deltas of postbacks in a batch; each reads all calls of its key, so fewer fit into the time of one transaction."""


@dataclass(frozen=True, slots=True)
class Folded:
    """How many deltas a batch took."""

    clicks: int
    postbacks: int

    @property
    def full(self) -> bool:
        """Whether more may be waiting right now."""
        return self.clicks == CLICKS or self.postbacks >= POSTBACKS

    def __bool__(self) -> bool:
        return bool(self.clicks or self.postbacks)


async def fold_batch(
    connection: SoleConnection, lease: Lease, *, click_limit: int = CLICKS, postback_limit: int = POSTBACKS
) -> Folded:
    """Fold up to the limits; raises LeaseLost, and what the connection raises, with nothing changed.

    Repeatable read: what is read, labelled and deleted is one set, whatever ingest commits meanwhile. A conversion
    whose click is in no snapshot yet waits, and attaches with the batch that takes the click's delta.
    """
    async with connection.transaction(isolation="repeatable_read"):
        await lease.check(connection)
        touched: set[conversions.Key] = set()
        new_clicks = await clicks.read(connection, click_limit)
        if new_clicks:
            touched |= await conversions.attachable(connection, new_clicks[0].id, new_clicks[-1].id)
            await clicks.fold(connection, new_clicks)
        called, postbacks = await conversions.take(connection, postback_limit)
        touched |= called
        if touched:
            await conversions.fold(connection, touched)
        else:
            # A server that crashes before this is on disk has the deltas again, and they fold to the same. Conversions
            # get numbers that are shown, so they are on disk first.
            await connection.execute(queries["commit_later"])
    return Folded(len(new_clicks), postbacks)
