"""What a writer has open of its stream: lock, pages and tail, from the stream's birth to its release."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from shared.journal.announced import create_announced
from shared.journal.count_page import CountPage
from shared.journal.group import Group
from shared.journal.loss_page import create_losses
from shared.journal.record import FIRST_SEQ
from shared.journal.segment import NoRoom, OpenSegment
from shared.journal.stream import Birth, SegmentName, conceive, reveal
from shared.journal.tail import Tail


class OpenStream:
    """One thread owns it at a time. Methods raise OSError where they say nothing else."""

    def __init__(
        self, birth: Birth, path: Path, tail: Tail, losses: CountPage, announced: CountPage, *, durable: bool
    ) -> None:
        self.stream = birth.stream
        self.path = path
        self.tail = tail
        self._lock_fd = birth.lock_fd
        self._losses = losses
        self._announced = announced
        self._durable = durable

    @classmethod
    def create(
        cls, root: Path, segment_bytes: int, *, durable: bool, retire: Callable[[OpenSegment], None]
    ) -> "OpenStream":
        """A new stream under `root`, whose names are on the disk before this returns; nothing is left if it raises.
        With `durable`, what is stored has been synced. `retire`: see `Tail`."""
        birth = conceive(root)
        losses = announced = segment = None
        try:
            losses = create_losses(birth.hidden, birth.stream)
            announced = create_announced(birth.hidden, birth.stream)
            name = SegmentName(FIRST_SEQ)
            try:
                segment = OpenSegment.create(birth.hidden, birth.stream, name, segment_bytes, durable=True)
            except NoRoom:
                # A worker that starts now can still answer and declare what it loses.
                segment = OpenSegment.create(
                    birth.hidden, birth.stream, name, segment_bytes, roomless=True, durable=True
                )
            path = reveal(birth)
        except BaseException:
            for opened in (losses, announced, segment):
                if opened is not None:
                    opened.close()
            os.close(birth.lock_fd)
            shutil.rmtree(birth.hidden, ignore_errors=True)
            raise
        tail = Tail(path, birth.stream, segment, name, segment_bytes, durable=durable, retire=retire)
        return cls(birth, path, tail, losses, announced, durable=durable)

    def store(self, group: Group) -> int:
        """Stores the group's losses, and of its records as many from the first as there is room for: gives how many.

        Raises OSError when the stream can take nothing any more; what of the group is stored is not known then.
        """
        stored = len(group.records)
        if group.records:
            stored = self.tail.append(group.records, group.first_seq, from_reserve=group.from_reserve)
        if group.losers:
            self._losses.write(group.losses)
            if self._durable:
                self._losses.sync()
        return stored

    def announce(self, synced_seq: int) -> None:
        """Says that everything up to `synced_seq` is stored. Another thread than the rest's may do it."""
        if synced_seq != self._announced.count:
            self._announced.write(synced_seq)

    def release(self, *, intact: bool) -> None:
        """Closes everything, the lock last; with `intact` what is open is synced and cut to size before. A failure
        of that is raised when all is closed."""
        try:
            if intact:
                self._losses.sync()
                self.tail.end()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Closes the descriptors and touches no file: in a forked child they are copies of the parent's."""
        self.tail.close()
        self._losses.close()
        self._announced.close()
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)
