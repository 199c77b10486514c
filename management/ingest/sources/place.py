"""Where reading of one partition stands. Pure."""

from typing import Final, Protocol
from zlib import crc32

from management.ingest.sources.parking import Stream

_NOBODY: Final = b""


class Message(Protocol):
    """As aiokafka gives it; `timestamp` in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def fingerprint(message: Message) -> str:
    """What tells the message from another one that stands at its offset in another log."""
    return f"{crc32(b'%d' % message.timestamp, crc32(message.value or _NOBODY, crc32(message.key or _NOBODY))):08x}"


class Place:
    """One partition. `offset`: everything before it was taken in; None: still to be looked up.

    `life` changes whenever the consumer must be told anew where to read. `last` is the fingerprint of the message
    before `offset`. A broker that was away may have come back with another log of the same name: then that message is
    read once more (`verifies`), and where another one stands, everything is read again from the log's beginning.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.offset: int | None = None
        self.end: int | None = None
        self.last = ""
        self.life = 0
        self.verifies = False
        self.from_beginning = False
        self.is_leaving = False
        self.blocked = ""
        self.streams: dict[bytes, Stream] = {}

    @property
    def is_read(self) -> bool:
        return not self.is_leaving and not self.blocked

    @property
    def seek(self) -> int:
        assert self.offset is not None
        return self.offset - 1 if self.verifies else self.offset

    @property
    def lag(self) -> int | None:
        """Messages between what was taken in and the log's end; None where it is not known."""
        return None if self.end is None or self.offset is None else max(0, self.end - self.offset)

    @property
    def is_quiet(self) -> bool:
        """Nothing that was given to the loop is on its way to Postgres."""
        return all(stream.stored == stream.given for stream in self.streams.values())

    @property
    def hint(self) -> int | None:
        """Where another process would have to begin: everything before is stored, or evidence says that it is not."""
        if self.offset is None:
            return None
        unproven = [stream.unproven_from for stream in self.streams.values()]
        return min([self.offset, *(offset for offset in unproven if offset is not None)])

    def start(self, offset: int, last: str) -> None:
        """It is read from `offset` on; `last`, where it is known, is to be found before it."""
        self.offset, self.last, self.verifies = offset, last, bool(last)
        for stream in self.streams.values():
            stream.begin_again(offset)

    def begin_again(self) -> None:
        """The log is not the one that was read: look up its beginning."""
        self.offset, self.end, self.last, self.verifies, self.from_beginning = None, None, "", False, True
        self.blocked = ""
        self.life += 1

    def verify(self) -> bool:
        """The log may be another one; False where nothing was read yet that could tell."""
        if not self.last or not self.offset:
            return False
        if not self.verifies:
            self.verifies = True
            self.life += 1
        return True

    def leave(self) -> None:
        """Read no more; what is neither stored nor given is forgotten, who reads next finds it in the log."""
        self.is_leaving = True
        self.life += 1
        for stream in self.streams.values():
            stream.forget()
