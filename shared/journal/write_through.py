"""durability=os: an answer waits for the write(2) that carries its record; it survives a killed process, not a power cut.

The records of one step of the loop go in one write: a write for each costs the click path more than the wait for the
step's end.
"""

from shared.journal.writer import JournalWriter


class WriteThroughWriter(JournalWriter, durability="os"):
    """See `JournalWriter`. The loop owns the files, and nothing it does with them waits for the disk: a sync would
    stall every request of the worker, and `os` promises none. The thread gets segments that are full."""

    _durable = False

    def _hand_over(self) -> None:
        if self._has_open_records():  # closing may have been quicker
            group = self._gather()
            try:
                stored = self._files.store(group)
            except OSError as failure:
                self._refuse_all(group, failure)
            else:
                self._settle(group, stored)
        if self._has_open_records():
            self._loop.call_soon(self._hand_over)
        else:
            self._come_to_rest()
