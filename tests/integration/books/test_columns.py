"""Covers the columns of the books: whatever a batch holds, they add up to the position and say what the tables hold.

Announcements are test_announcements.py, the counting of rows is test_check.py.
"""

from collections import Counter
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from management.db.pool import SoleConnection
from management.ingest import deadletter
from management.ingest.batch import Batch, Gap, StreamRead, batch_of
from management.ingest.books import Announced
from management.ingest.writer import PositionMoved, Writer
from shared.events import CLICK, Event
from tests.ingest_builders import NOW_MS, click, gap_read, kind_of, payload, postback, read_of, stranger
from tests.integration.books.ledger import difference, line, terms

A, B = b"a" * 16, b"b" * 16
KINDS = ("click", "postback", "stranger", "repeat", "undecodable", "refused", "gap")


class Scenario:
    """Streams that grow by random records; remembers what each stream must be booked with."""

    def __init__(self) -> None:
        self.next = {A: 1, B: 1}
        self.booked: dict[bytes, Counter[str]] = {A: Counter(), B: Counter()}
        self._seen: list[Event] = []

    def batch(self, plan: list[tuple[bytes, str]]) -> Batch:
        reads: list[StreamRead] = []
        for stream, kind in plan:
            begins = self.next[stream]
            if kind == "gap":
                reads.append(
                    StreamRead(stream, begins, begins + 3, begins > 1, [], [Gap(begins, begins + 2, "damaged")])
                )
                self.booked[stream]["lost"] += 3
            else:
                event, column = self._record(kind)
                number = CLICK if isinstance(event, bytes) else kind_of(event)
                written = event if isinstance(event, bytes) else payload(event)
                reads.append(StreamRead(stream, begins, begins + 1, begins > 1, [(begins, number, written)]))
                self.booked[stream][column] += 1
            self.next[stream] = reads[-1].next_seq
        return batch_of(reads)

    def _record(self, kind: str) -> tuple[Event | bytes, str]:
        if kind == "undecodable":
            return b"not JSON", "dead_lettered"
        if kind == "refused":  # decodes, but Postgres takes no such amount
            return postback(payout="1" + "0" * 30), "dead_lettered"
        if kind == "repeat" and self._seen:
            return self._seen[-1], "repeated"
        made: dict[str, Any] = {"click": click, "postback": postback, "stranger": stranger}
        event: Event = made.get(kind, click)()
        self._seen.append(event)
        return event, "stored"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(
        st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(KINDS)), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    )
)
async def test_the_columns_add_up_whatever_comes(
    plans: list[list[tuple[bytes, str]]], writer: Writer, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "TRUNCATE clicks, postbacks, strangers, dead_letters, lost_records, stream_positions, click_deltas,"
        " postback_deltas, stream_announcements"
    )
    scenario = Scenario()
    for plan in plans:
        await deadletter.store(writer, scenario.batch(plan))
        assert await difference(owner) == 0
    for stream, booked in scenario.booked.items():
        if scenario.next[stream] == 1:
            continue
        assert await terms(owner, stream) == dict(booked) | {"last_seq": scenario.next[stream] - 1}
        rows = sum(
            [
                await owner.fetchval(f"SELECT count(*) FROM {table} WHERE stream = $1", stream)
                for table in ("clicks", "postbacks", "strangers")
            ]
        )
        assert rows == booked["stored"]


async def test_a_click_that_two_streams_bring_is_stored_for_one_and_repeated_for_the_other(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    twice = click()
    await writer.store(batch_of([read_of([twice, click()], stream=A), read_of([click(), twice], stream=B)]))
    assert await terms(owner, A) == {"stored": 2, "last_seq": 2}
    assert await terms(owner, B) == {"stored": 1, "repeated": 1, "last_seq": 2}


async def test_what_is_not_stored_is_not_booked(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store(batch_of([read_of([click()], stream=A)]))
    with pytest.raises(PositionMoved):
        await writer.store(batch_of([read_of([click()], stream=B), read_of([click()], stream=A, begins=7)]))
    assert await terms(owner, A) == {"stored": 1, "last_seq": 1}
    assert await owner.fetchval("SELECT count(*) FROM stream_positions") == 1


async def test_a_stream_that_is_older_than_its_position_opens_with_a_balance(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    await writer.store(batch_of([read_of([click(), click()], stream=A, begins=41, known=False)]))
    assert await terms(owner, A) == {"opening": 40, "stored": 2, "last_seq": 42}


async def test_a_letter_that_is_redriven_or_given_up_changes_its_column(
    writer: Writer, connection: SoleConnection, owner: asyncpg.Connection
) -> None:
    await writer.store(batch_of([read_of([b"?"] * 9, stream=A)]))
    await connection.execute("SELECT book_letters($1, 3, 1)", A)
    await connection.execute("SELECT book_letters($1, 0, 0, 2, 'account deleted')", A)
    await connection.execute("SELECT book_letters($1, 0, 0, 1, 'account deleted')", A)
    assert await terms(owner, A) == {"dead_lettered": 2, "stored": 3, "repeated": 1, "discarded": 3, "last_seq": 9}
    assert (await line(owner, A))["discards"] == '{"account deleted": 3}'


async def test_what_is_announced_and_not_stored_is_in_the_journal(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store_announced({A: Announced(5, False)})
    assert await terms(owner, A) == {"in_journal": 5, "last_seq": 5}
    await writer.store(batch_of([read_of([click()] * 1 + [click(at_ms=NOW_MS - 1)], stream=A)]))
    assert await terms(owner, A) == {"stored": 2, "in_journal": 3, "last_seq": 5}
    await writer.store_announced({A: Announced(9, False, 4)})
    assert await terms(owner, A) == {"stored": 2, "in_journal": 3, "parked": 4, "last_seq": 9}
    await writer.store_announced({A: Announced(6, False, 0)})
    assert await terms(owner, A) == {"stored": 2, "in_journal": 7, "last_seq": 9}, "an old word takes nothing back"
    await writer.store(batch_of([gap_read(3, 20, stream=A)]))
    assert await terms(owner, A) == {"stored": 2, "lost": 18, "last_seq": 20}, "never less than nothing"


async def test_what_a_finished_stream_announced_and_nobody_stored_is_a_difference_after_a_minute(
    writer: Writer, owner: asyncpg.Connection
) -> None:
    await writer.store(batch_of([read_of([click()], stream=A)]))
    await writer.store_announced({A: Announced(4, True)})
    assert await terms(owner, A) == {"stored": 1, "in_journal": 3, "last_seq": 4}
    await owner.execute("UPDATE stream_announcements SET announced_at = now() - interval '61 seconds'")
    assert await terms(owner, A) == {"stored": 1, "difference": 3, "last_seq": 4}
    await writer.store_announced({A: Announced(4, False)})
    assert (await line(owner, A))["finished"] is True
    await writer.store(batch_of([read_of([click(), click(), click()], stream=A, begins=2)]))
    assert await terms(owner, A) == {"stored": 4, "last_seq": 4}


async def test_an_announcement_that_says_nothing_new_is_not_written(writer: Writer, owner: asyncpg.Connection) -> None:
    await writer.store_announced({A: Announced(5, False)})
    before = await owner.fetchval("SELECT xmin::text FROM stream_announcements")
    await writer.store_announced({A: Announced(5, False)})
    await writer.store_announced({})
    assert await owner.fetchval("SELECT xmin::text FROM stream_announcements") == before
