"""durability=fsync: an answer waits for the fdatasync that covers its record; records share their syncs.

One group is with the disk at any time; the next one collects meanwhile. The loop hands a group over in a later
step than the one that brought its first record, so that all records of that step go together.
"""

from functools import partial

from shared.journal.group import Group
from shared.journal.writer import JournalWriter


class GroupCommitWriter(JournalWriter, durability="fsync"):
    """See `JournalWriter`. Its thread owns the files; the loop owns everything else."""

    _durable = True

    def _hand_over(self) -> None:
        if self._has_open_records():
            self._tasks.put(partial(self._commit, self._gather()))
        else:
            self._come_to_rest()

    def _committed(self, group: Group, stored: int) -> None:
        self._settle(group, stored)
        # Queued behind the waiters just woken: what they append at once joins the next group.
        self._loop.call_soon(self._hand_over)

    def _commit_failed(self, group: Group, failure: BaseException) -> None:
        self._refuse_all(group, failure)
        self._hand_over()

    # In the thread.

    def _commit(self, group: Group) -> None:
        try:
            stored = self._files.store(group)
        except BaseException as failure:
            self._loop.call_soon_threadsafe(self._commit_failed, group, failure)
        else:
            self._loop.call_soon_threadsafe(self._committed, group, stored)
