"""Covers what goes into a batch: everyone's share, gaps in their place, standings when due, few old streams at once, and
that whatever is read fits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from edge.shipper.journal import Stream
from edge.shipper.packing import FINISHED_SECONDS, OLD_AT_ONCE, READ_BYTES, READ_RECORDS, STANDING_SECONDS, Packed, Turn
from edge.shipper.producer import BATCH_BYTES
from edge.shipper.progress import Piece
from shared.journal import MAX_PAYLOAD, Marks
from shared.journal.record import encode, encode_segment_header
from tests.unit.journal.stream_builder import StreamOnDisk

Next = dict[bytes, int]


class Packer:
    """Packs and takes every batch for acknowledged."""

    def __init__(self) -> None:
        self.turn = Turn()
        self.next: Next = {}
        self.marks = Marks()
        self.now = 0.0

    def add(self, on_disk: StreamOnDisk, *, old: bool = False) -> Stream:
        stream = Stream(on_disk.path, 0)
        self.turn.add(stream, old=old)
        self.next[stream.id] = 1
        return stream

    def pack(self) -> Packed | None:
        batch = BatchBuilder(BATCH_BYTES, 0)
        packed = self.turn.pack(batch, self.next, self.marks, self.now)
        if packed is not None:
            assert packed.messages == batch.record_count()
            assert batch.size() <= BATCH_BYTES
            for piece in packed.pieces:
                assert piece.first == self.next[piece.stream]
                self.next[piece.stream] = piece.last + 1
            for said in packed.standings:
                said.stream.told = said.standing.finished
        return packed


@pytest.fixture
def packer() -> Packer:
    return Packer()


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[int], StreamOnDisk]:
    def make(records: int) -> StreamOnDisk:
        stream = StreamOnDisk(tmp_path)
        stream.add(1, records)
        return stream

    return make


def test_a_long_stream_does_not_keep_the_others_waiting(packer: Packer, on_disk: Callable[[int], StreamOnDisk]) -> None:
    streams = [on_disk(2_000) for _ in range(3)]
    for stream in streams:
        packer.add(stream)
    packed = packer.pack()
    assert packed is not None
    shares = {piece.stream: piece.last for piece in packed.pieces}
    assert sorted(shares) == sorted(stream.stream for stream in streams)
    assert min(shares.values()) > sum(shares.values()) // 5
    batches = 1
    while min(packer.next.values()) <= 2_000:
        assert packer.pack() is not None
        batches += 1
    assert batches <= 2 * (3 * streams[0].segment(1).stat().st_size // READ_BYTES + 1)


def test_a_gap_stands_in_its_place(packer: Packer, tmp_path: Path) -> None:
    stream = StreamOnDisk(tmp_path)
    content = bytearray(stream.add(1, 9))
    at = content.index(b'{"n":4,')
    content[at] = 0
    stream.segment(1).write_bytes(content)
    stream.add(20, 25)
    packer.add(stream)
    packed = packer.pack()
    assert packed is not None
    assert (
        [piece[1:] for piece in packed.pieces]
        == [
            Piece(b"", 1, 3, 3)[1:],  # behind the standing
            Piece(b"", 4, 4, 4, gap=True)[1:],
            Piece(b"", 5, 9, 9)[1:],
            Piece(b"", 10, 19, 10, gap=True)[1:],
            Piece(b"", 20, 25, 16)[1:],
        ]
    )


@pytest.mark.parametrize("size", [0, 1, 70, 600, MAX_PAYLOAD])
def test_whatever_is_read_fits(packer: Packer, tmp_path: Path, size: int) -> None:
    stream = StreamOnDisk(tmp_path)
    records = 2 * READ_RECORDS if size < 1_000 else 20
    content = [encode(seq, 1, b"x" * size) for seq in range(1, records + 1)]
    stream.segment(1).write_bytes(encode_segment_header(stream.stream, 1) + b"".join(content))
    packer.add(stream)
    while packer.next[stream.stream] <= records:
        before = packer.next[stream.stream]
        packed = packer.pack()
        assert packed is not None
        read_to = packer.next[stream.stream]
        assert read_to > before
        assert stream_was_read_once(packer, read_to)


def stream_was_read_once(packer: Packer, read_to: int) -> bool:
    """What was read was packed: else its reader would have to seek its place anew."""
    (stream,) = packer.turn._young
    return stream._read_to == read_to


def test_standings_come_each_second_and_finished_ones_now_and_then(
    packer: Packer, on_disk: Callable[[int], StreamOnDisk]
) -> None:
    living, dead = on_disk(2), on_disk(2)
    packer.add(living)
    packer.add(dead)
    with living.held():
        first, second = packer.pack(), packer.pack()
        assert first is not None
        assert second is not None
        assert {said.stream.id for said in first.standings} == {living.stream, dead.stream}
        assert [said.standing for said in second.standings] == [(3, 0, True)]
        assert packer.pack() is None
        packer.now += STANDING_SECONDS
        again = packer.pack()
        assert again is not None
        assert [said.standing for said in again.standings] == [(3, 0, False)]
        packer.now += FINISHED_SECONDS
        both = packer.pack()
        assert both is not None
        assert sorted(said.standing.finished for said in both.standings) == [False, True]


def test_old_streams_are_shipped_few_at_a_time_and_all_of_them(
    packer: Packer, on_disk: Callable[[int], StreamOnDisk]
) -> None:
    streams = [packer.add(on_disk(40), old=True) for _ in range(3 * OLD_AT_ONCE)]
    for _ in range(200):
        packer.pack()
        assert sum(stream._reader is not None for stream in streams) <= OLD_AT_ONCE
    assert set(packer.next.values()) == {41}
    assert all(stream.told for stream in streams)


def test_a_stream_that_goes_back_is_read_again_although_it_was_finished(
    packer: Packer, on_disk: Callable[[int], StreamOnDisk]
) -> None:
    stream = packer.add(on_disk(40), old=True)
    for _ in range(3):
        packer.pack()
    assert stream.told
    packer.next[stream.id], stream.told = 11, False  # as a shipment does
    packed = packer.pack()
    assert packed is not None
    assert [(piece.first, piece.last) for piece in packed.pieces] == [(11, 40)]
    packed = packer.pack()
    assert packed is not None
    assert [said.standing for said in packed.standings] == [(41, 0, True)]
