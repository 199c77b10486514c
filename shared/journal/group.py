"""What one commit stores and whom it answers, and the two ways in which a record stays without a durable copy."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from shared.journal.record import renumbered


class NotJournaled(Exception):
    """There is no durable copy of the record, and there will be none."""


class JournalFailed(NotJournaled):
    """The journal failed before the record or with it, or was closed: it takes nothing any more."""


class JournalFull(NotJournaled):
    """There is no room for the record now. The journal lives on and takes records again once there is."""


Refusal = JournalFailed | JournalFull
Done = Callable[[Refusal | None], None]
"""Called once, in the loop: with None when the record is as durable as was asked for, else with why it is not."""


class Group(NamedTuple):
    """Records numbered from `first_seq`, each with its waiter, and clicks that were answered without a record."""

    first_seq: int
    records: list[bytes]
    waiters: list[Done]
    reserved: list[int]
    """The seqs of those that may use the last reserve."""
    from_reserve: bool
    """All of them must: the journal is full."""
    losses: int
    """How many clicks the stream has lost in all, with this group's."""
    losers: list[Done]
    """The waiters of this group's."""


def take_back(group: Group, stored: int, behind: Group) -> tuple[Group, list[Done]]:
    """What becomes of the records that a full disk had no room for: those to be tried again, and whom to refuse.

    The first `stored` of `group` are on disk. `behind` was taken meanwhile, so its seqs follow the group's and close
    up with them. What may use the last reserve is tried again in it; if that is what had no room, `behind` may
    still be luckier.
    """
    first, behind_first = group.first_seq + stored, behind.first_seq
    reserved = {*group.reserved, *behind.reserved}
    tried_again: Collection[int] = reserved
    if group.from_reserve:
        tried_again = range(behind_first, behind_first + len(behind.records))
    again = Group(first, [], [], [], False, behind.losses, behind.losers)
    refused: list[Done] = []
    records, waiters = group.records[stored:] + behind.records, group.waiters[stored:] + behind.waiters
    for seq, (record, done) in enumerate(zip(records, waiters, strict=True), first):
        if seq not in tried_again:
            refused.append(done)
            continue
        fresh_seq = first + len(again.records)
        if seq in reserved:
            again.reserved.append(fresh_seq)
        again.records.append(renumbered(record, fresh_seq))
        again.waiters.append(done)
    return again, refused


def settle(waiter: asyncio.Future[None], refusal: Refusal | None) -> None:
    """A `Done` for a future, which its owner may have cancelled."""
    if waiter.done():
        return
    if refusal is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(refusal)


def tell(waiters: Iterable[Done]) -> None:
    """Their records are durable."""
    for done in waiters:
        done(None)
