"""Streams made by hand, byte for byte, and reading them to the end: what several of the journal's tests need."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.journal import Gap, Record, StreamReader
from shared.journal.record import encode, encode_segment_header
from shared.journal.stream import LOCK_NAME, SegmentName


def payload_of(seq: int) -> bytes:
    """A JSON payload that only record `seq` has, of a length that differs from its neighbours'."""
    return b'{"n":%d,"fill":"%s"}' % (seq, b"abcdefgh"[seq % 8 : seq % 8 + 1] * (seq * 37 % 900))


def records_between(first: int, last: int) -> list[Record]:
    return [(seq, seq % 7, payload_of(seq)) for seq in range(first, last + 1)]


def segment_bytes(stream: bytes, records: list[Record]) -> bytes:
    return encode_segment_header(stream, records[0][0]) + b"".join(encode(*record) for record in records)


def no_failure(failure: BaseException) -> None:
    """For `on_failure` where the disk does not fail; every append after this one is refused and shows it."""
    raise failure


class StreamOnDisk:
    """A stream directory without a writer."""

    def __init__(self, root: Path) -> None:
        self.stream = secrets.token_bytes(16)
        self.path = root / self.stream.hex()
        self.path.mkdir(parents=True)
        (self.path / LOCK_NAME).touch()

    def segment(self, first: int) -> Path:
        return self.path / SegmentName(first).file

    def add(self, first: int, last: int, *, reserved: int = 0) -> bytes:
        """Writes the segment of the records first … last; gives its bytes without the reserved zeros."""
        content = segment_bytes(self.stream, records_between(first, last))
        self.segment(first).write_bytes(content + bytes(reserved))
        return content

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock as a living writer does."""
        fd = os.open(self.path / LOCK_NAME, os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(fd)


def read_on(
    reader: StreamReader, max_records: int = 1000, max_bytes: int = 1 << 20
) -> tuple[list[Record], list[Gap], bool]:
    """Reads until the stream is finished or has nothing more yet; checks that the batches leave no seq out."""
    records: list[Record] = []
    gaps: list[Gap] = []
    while True:
        batch = reader.read(max_records, max_bytes)
        assert len(batch.records) <= max_records
        records += batch.records
        gaps += batch.gaps
        if batch.finished or not (batch.records or batch.gaps):
            return records, gaps, batch.finished


def covered(records: list[Record], gaps: list[Gap]) -> list[int]:
    """Every seq that a record or a gap accounts for, ascending; a seq accounted for twice appears twice."""
    return sorted([seq for seq, _, _ in records] + [seq for gap in gaps for seq in range(gap.first, gap.last + 1)])
