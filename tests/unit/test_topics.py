"""Covers the wire format of both Kafka topics: golden files written by earlier versions are read and written as they
are, what is unknown is passed over or refused as promised, and nothing that arrives breaks a reader."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import topics
from shared.topics import Consumed, Gap, Record, Standing, UnknownVersion, UnreadableMessage

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "topics"
EVENTS: dict[str, Record | Gap | Standing] = {
    "record": Record(1, 1, b'{"v":1,"id":"x"}'),
    "record_large": Record(2**63 - 2, 65_535, '{"name":"žluťoučký"}'.encode()),
    "record_empty": Record(7, 2, b""),
    "gap": Gap(41, 90, "damaged"),
    "gap_of_one": Gap(5, 5, "missing"),
    "standing": Standing(1_001, 0, False),
    "standing_finished": Standing(88, 12_345, True),
}
CONSUMED: dict[str, Consumed] = {
    "consumed": Consumed(1, 0, 0),
    "consumed_large": Consumed(2**63 - 2, 11, 2**62),
}
SEQ = st.integers(0, 2**64 - 1)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def encode(message: Record | Gap | Standing) -> bytes:
    if isinstance(message, Record):
        return topics.encode_record(*message)
    return topics.encode_gap(message) if isinstance(message, Gap) else topics.encode_standing(message)


def test_every_golden_file_is_known() -> None:
    assert {path.stem for path in GOLDEN.glob("*.hex")} == {*EVENTS, *CONSUMED, "of_later_type", "of_later_version"}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_of_an_earlier_version(name: str) -> None:
    assert topics.decode(golden(name)) == EVENTS[name]
    assert encode(EVENTS[name]) == golden(name)


@pytest.mark.parametrize("name", CONSUMED)
def test_a_word_of_an_earlier_version(name: str) -> None:
    assert topics.decode_consumed(golden(name)) == CONSUMED[name]
    assert topics.encode_consumed(CONSUMED[name]) == golden(name)


def test_a_type_that_is_not_known_is_passed_over_and_a_version_is_not() -> None:
    assert topics.decode(golden("of_later_type")) is None
    with pytest.raises(UnknownVersion):
        topics.decode(golden("of_later_version"))


def test_members_that_are_not_known_are_passed_over() -> None:
    later = b'{"v":1,"next":4,"partition":2,"offset":9,"since":"yesterday"}'
    assert topics.decode_consumed(later) == Consumed(4, 2, 9)


@given(SEQ, st.integers(0, 65_535), st.binary(max_size=2_000))
def test_every_record_comes_back(seq: int, kind: int, payload: bytes) -> None:
    assert topics.decode(topics.encode_record(seq, kind, payload)) == Record(seq, kind, payload)


@given(st.binary(max_size=64))
def test_nothing_that_arrives_breaks_a_reader(value: bytes) -> None:
    for read in (topics.decode, topics.decode_consumed):
        try:
            read(value)
        except (UnreadableMessage, UnknownVersion):
            continue


@pytest.mark.parametrize(
    "value", [b"", b"null", b"[]", b'{"v":1,"next":-1,"partition":0,"offset":0}', b'{"next":true}']
)
def test_what_is_no_word_of_ingest(value: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        topics.decode_consumed(value)


def test_a_stream_is_named_by_16_bytes() -> None:
    assert topics.stream_of(b"s" * 16) == b"s" * 16
    for key in (None, b"", b"s" * 15):
        with pytest.raises(UnreadableMessage):
            topics.stream_of(key)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 1_000))
def test_a_stream_has_one_of_the_partitions(stream: bytes, partitions: int) -> None:
    assert 0 <= topics.partition_of(stream, partitions) < partitions
    assert topics.partition_of(bytes(16), partitions) == 0
    assert topics.partition_of(bytes([0] * 7 + [1] + [9] * 8), 12) == 1
