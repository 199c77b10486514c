"""Covers a whole shipment on real files, with the acknowledgements and words that Kafka would bring: what is deleted
when, what is remembered, what moves when the topic has other partitions. The decisions alone: `test_progress`."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from edge.shipper.journal import Journal
from edge.shipper.packing import Packed
from edge.shipper.producer import BATCH_BYTES
from edge.shipper.progress import TOPIC_GONE
from edge.shipper.shipment import Shipment
from shared import topics
from shared.journal import NO_LIMITS, JournalWriter, read_shipped
from shared.journal.group import settle
from shared.journal.stream import SHIPPED_NAME
from shared.topics import Consumed
from tests.unit.journal.stream_builder import no_failure, payload_of


class Line:
    """A shipment and one log for each partition, of which only the length is kept."""

    def __init__(self, root: Path, partitions: int = 12) -> None:
        self.journal = Journal(root, 0.0, NO_LIMITS)
        self.shipment = Shipment(self.journal)
        self.shipment.take_partitions(partitions)
        self.shipment.notice()
        self.ends: dict[int, int] = {}
        self.now = 0.0

    def send(self) -> list[Packed]:
        """Everything there is, acknowledged at once."""
        sent = []
        for number in self.shipment.occupied:
            while packed := self.shipment.pack(number, BatchBuilder(BATCH_BYTES, 0), self.now):
                end = self.ends.get(number, 0)
                assert not self.shipment.acked(number, end, packed)
                self.ends[number] = end + packed.messages
                sent.append(packed)
        return sent

    def say(self, stream: bytes, next_seq: int, offset: int, partition: int | None = None) -> None:
        number = self.partition(stream) if partition is None else partition
        self.shipment.said(stream, Consumed(next_seq, number, offset), self.now)

    def partition(self, stream: bytes) -> int:
        return self.shipment._streams[stream].partition

    async def sweep(self) -> None:
        self.shipment.forget(await self.journal.tidy(self.shipment.consumed()))


async def write(root: Path, records: int, *, lost: int = 0) -> bytes:
    """A finished stream."""
    writer = JournalWriter.open(root, "os", segment_bytes=1 << 20, on_failure=no_failure)
    for seq in range(1, records + 1):
        await writer.append(1, payload_of(seq))
    for _ in range(lost):
        declared = asyncio.get_running_loop().create_future()
        writer.declare_lost(lambda refusal, declared=declared: settle(declared, refusal))  # type: ignore[misc]
        await declared
    await writer.close()
    return writer.stream


async def test_a_stream_goes_when_all_of_it_is_stored_and_its_end_is_told(tmp_path: Path) -> None:
    stream = await write(tmp_path, 20)
    line = Line(tmp_path)
    line.say(stream, 21, 0)  # stored from elsewhere, but nobody was told that it is finished
    await line.sweep()
    assert (tmp_path / stream.hex()).exists()
    line.send()
    line.shipment.remember()
    await line.sweep()
    assert not (tmp_path / stream.hex()).exists()
    assert line.shipment.status()["streams"] == 0


async def test_declared_losses_stay_until_ingest_has_read_of_them(tmp_path: Path) -> None:
    stream = await write(tmp_path, 20, lost=3)
    for tell in ("by what it says", "by its group's offset"):
        line = Line(tmp_path)
        line.send()
        end = line.ends[line.partition(stream)]
        line.say(stream, 21, end - 1)  # the last message is the standing
        await line.sweep()
        assert (tmp_path / stream.hex()).exists()
        assert line.shipment.needs_group
        if tell == "by what it says":
            continue
        line.shipment.group_offsets({line.partition(stream): end})
        await line.sweep()
        assert not (tmp_path / stream.hex()).exists()
    stream = await write(tmp_path, 20, lost=3)
    line = Line(tmp_path)
    line.send()
    line.say(stream, 21, line.ends[line.partition(stream)])
    assert not line.shipment.needs_group
    await line.sweep()
    assert not (tmp_path / stream.hex()).exists()


async def test_a_stream_that_cannot_be_noticed_is_noticed_once_it_can(tmp_path: Path) -> None:
    stream = await write(tmp_path, 20)
    at = time.time_ns() - 10 * 10**9
    os.utime(tmp_path, ns=(at, at))
    journal = Journal(tmp_path, 0.0, NO_LIMITS)
    (tmp_path / stream.hex() / SHIPPED_NAME).mkdir()
    with pytest.raises(IsADirectoryError):
        journal.notice()
    (tmp_path / stream.hex() / SHIPPED_NAME).rmdir()
    assert [found.id for found in journal.notice()] == [stream]
    assert journal.notice() == []


async def test_a_lost_log_takes_the_end_with_it_and_it_is_told_again(tmp_path: Path) -> None:
    stream = await write(tmp_path, 20)
    line = Line(tmp_path)
    line.send()
    line.say(stream, 21, 21)
    line.shipment.lost(TOPIC_GONE)
    line.ends = {}
    await line.sweep()
    assert (tmp_path / stream.hex()).exists()
    (packed,) = line.send()
    assert (packed.pieces, [said.standing.finished for said in packed.standings]) == ([], [True])


async def test_what_is_remembered_is_where_the_next_life_begins(tmp_path: Path) -> None:
    stream = await write(tmp_path, 200)
    line = Line(tmp_path)
    line.send()
    line.shipment.remember()
    kept = read_shipped(tmp_path / stream.hex())
    assert kept == (line.partition(stream), 201, 200 + 1)
    second = Line(tmp_path)
    second.ends = dict(line.ends)
    assert [piece for packed in second.send() for piece in packed.pieces] == []
    assert (second.shipment.shipped, second.shipment.resent) == (0, 0)
    second.say(stream, 151, 300)
    second.shipment.log_ends({second.partition(stream): 400}, second.shipment.questions(), second.now)
    second.say(stream, 151, 300)
    assert second.shipment.went_back == {"passed_over": 1}
    second.ends[second.partition(stream)] = 400
    second.send()
    assert (second.shipment.shipped, second.shipment.resent) == (50, 50)


async def test_a_stream_keeps_its_partition_while_there_is_one_of_that_number(tmp_path: Path) -> None:
    stream = await write(tmp_path, 20)
    line = Line(tmp_path, partitions=1_000)
    was = line.partition(stream)
    line.send()
    line.shipment.remember()
    line.shipment.take_partitions(2_000)
    assert line.partition(stream) == was == Line(tmp_path, partitions=5_000).partition(stream)
    fewer = max(was, 1)
    line.shipment.take_partitions(fewer)
    now = topics.partition_of(stream, fewer)
    assert line.partition(stream) == now
    assert Line(tmp_path, partitions=fewer).partition(stream) == now
    if was >= fewer:
        line.say(stream, 5, 1_000, partition=was)
        assert line.shipment.went_back == {}, "what was read of another partition says nothing of this one"
        line.send()
        assert line.shipment.resent == 16
