"""The behaviour that every source of ingest has, as a mixin: a subclass gives the `origin` fixture. What is peculiar
to one source (files and their deletion, a broker's memory) is tested beside that source."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from management.ingest.batch import StreamRead, batch_of
from management.ingest.sources import Source
from shared.journal import FIRST_SEQ

KIND = 1


class Origin(Protocol):
    """What feeds the source under test."""

    limit: int
    """Records that a source opened here gives in one round, at most."""

    async def begin(self) -> bytes:
        """A new stream, its writer alive."""

    async def append(self, stream: bytes, payloads: Sequence[bytes]) -> None:
        """Append to it, with the seqs that follow."""

    async def end(self, stream: bytes) -> None:
        """Its writer dies."""

    def open(self, stored: Mapping[bytes, int]) -> Source:
        """A new source; `stored` answers, as it is at that moment, what positions Postgres has."""


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last + 1)]


async def everything(source: Source) -> list[StreamRead]:
    """What is there now: rounds until one ends at no limit."""
    reads: list[StreamRead] = []
    more = True
    while more:
        found = await source.read()
        reads += found.reads
        more = found.more
    return reads


def seqs(reads: Sequence[StreamRead], stream: bytes) -> list[int]:
    return [seq for read in reads if read.stream == stream for seq, _, _ in read.records]


def payloads(reads: Sequence[StreamRead], stream: bytes) -> list[bytes]:
    return [payload for read in reads if read.stream == stream for _, _, payload in read.records]


class SourceContract:
    async def test_a_stream_is_given_in_order_each_record_once(self, origin: Origin) -> None:
        stream = await origin.begin()
        source = origin.open({})
        given: list[StreamRead] = []
        for first in (1, 8, 15):
            await origin.append(stream, numbered(first, first + 6))
            given += await everything(source)
        assert payloads(given, stream) == numbered(1, 21)
        assert seqs(given, stream) == list(range(FIRST_SEQ, FIRST_SEQ + 21))
        assert all(record[1] == KIND for read in given for record in read.records)
        await source.close()

    async def test_reads_follow_one_another_and_settle_every_seq(self, origin: Origin) -> None:
        streams = [await origin.begin() for _ in range(3)]
        for number, stream in enumerate(streams, 1):
            await origin.append(stream, numbered(1, 3 * origin.limit * number))
        source = origin.open({})
        moves = batch_of(await everything(source)).moves  # it refuses a run that leaves a seq out
        assert {stream: (move.expected, move.next_seq) for stream, move in moves.items()} == {
            stream: (FIRST_SEQ, FIRST_SEQ + 3 * origin.limit * number) for number, stream in enumerate(streams, 1)
        }
        await source.close()

    async def test_only_the_first_read_of_a_stream_without_a_position_says_so(self, origin: Origin) -> None:
        fresh, known = await origin.begin(), await origin.begin()
        for stream in (fresh, known):
            await origin.append(stream, numbered(1, 3 * origin.limit))
        source = origin.open({known: 1})
        given = await everything(source)
        assert next(read.known for read in given if read.stream == known) is True
        told = [read.known for read in given if read.stream == fresh]
        assert told[0] is False
        assert set(told[1:]) == {True}
        await source.close()

    async def test_it_begins_at_the_stored_position(self, origin: Origin) -> None:
        stream = await origin.begin()
        await origin.append(stream, numbered(1, 20))
        source = origin.open({stream: 13})
        given = await everything(source)
        assert given[0].begins == 13
        assert [seq for seq in seqs(given, stream) if seq >= 13] == list(range(13, 21))
        await source.close()

    async def test_a_round_has_its_limit_and_says_that_there_is_more(self, origin: Origin) -> None:
        stream = await origin.begin()
        await origin.append(stream, numbered(1, origin.limit + 1))
        source = origin.open({})
        first, second = await source.read(), await source.read()
        assert (len(seqs(first.reads, stream)), first.more) == (origin.limit, True)
        assert (len(seqs(second.reads, stream)), second.more) == (1, False)
        await source.close()

    async def test_a_long_stream_does_not_keep_the_others_waiting(self, origin: Origin) -> None:
        long = [await origin.begin() for _ in range(2)]
        for stream in long:
            await origin.append(stream, numbered(1, 20 * origin.limit))
        short = await origin.begin()
        await origin.append(short, numbered(1, 1))
        source = origin.open({})
        found = await source.read()
        assert seqs(found.reads, short) == [FIRST_SEQ]
        shares = [len(seqs(found.reads, stream)) for stream in long]
        assert min(shares) >= origin.limit // 4, shares
        await source.close()

    async def test_nothing_new_is_an_empty_round_at_once(self, origin: Origin) -> None:
        source = origin.open({})
        assert not any((await source.read()).reads)
        stream = await origin.begin()
        await origin.append(stream, numbered(1, 2))
        await everything(source)
        async with asyncio.timeout(1):
            found = await source.read()
        assert (found.reads, found.more) == ([], False)
        await source.close()

    async def test_a_stream_that_begins_later_is_noticed(self, origin: Origin) -> None:
        source = origin.open({})
        await everything(source)
        late = await origin.begin()
        await origin.append(late, numbered(1, 3))
        assert seqs(await everything(source), late) == [1, 2, 3]
        await source.close()

    async def test_an_ended_stream_is_given_to_its_end_and_then_no_more(self, origin: Origin) -> None:
        stream, other = await origin.begin(), await origin.begin()
        await origin.append(stream, numbered(1, 5))
        await origin.end(stream)
        source = origin.open({})
        assert seqs(await everything(source), stream) == [1, 2, 3, 4, 5]
        await origin.append(other, numbered(1, 2))
        given = await everything(source)
        assert (seqs(given, stream), seqs(given, other)) == ([], [1, 2])
        await source.close()

    async def test_what_was_read_but_not_stored_is_given_again_by_a_new_source(self, origin: Origin) -> None:
        stream = await origin.begin()
        await origin.append(stream, numbered(1, 2 * origin.limit))
        await origin.end(stream)
        stored: dict[bytes, int] = {}
        first = origin.open(stored)
        batch = batch_of((await first.read()).reads)
        stored |= batch.positions
        await first.committed(batch.positions)
        await everything(first)  # read, never committed
        await first.read()
        await first.close()
        second = origin.open(stored)
        again = seqs(await everything(second), stream)
        assert [seq for seq in again if seq >= stored[stream]] == list(range(stored[stream], 2 * origin.limit + 1))
        await second.close()
