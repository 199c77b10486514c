"""The two Kafka topics between edges and ingest, and what a message in them looks like. Pure.

`milepost.events` carries what edges journaled. A stream lies in one partition, in order, for its whole life; key: the
stream's id (16 bytes). A message's value:

    version u8 | type u8 | kind u16 | seq u64 | body        little endian

    RECORD     kind, seq and body are those of the journal's record (body: its payload, untouched)
    GAP        seq … last are in no segment any more; body: last u64 | reason, UTF-8
    STANDING   what the stream's worker says of itself: seq is the one that follows the last one synced; body:
               declared losses u64 | 1 when the worker is gone and everything it left is shipped, else 0, u8

`milepost.consumed` is compacted: for each stream the last thing that ingest said of it. Key: the stream's id; value:
JSON {"v": 1, "next": first seq not stored, "partition": …, "offset": the events partition was read up to here}.

A reader passes over types, and JSON members, that it does not know; a version it does not know it must not pass over.
"""

from collections.abc import Mapping
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple

import orjson

EVENTS_TOPIC: Final = "milepost.events"
EVENTS_PARTITIONS: Final = 12
EVENTS_RETENTION_MS: Final = 7 * 86_400_000
CONSUMED_TOPIC: Final = "milepost.consumed"
CONSUMED_PARTITIONS: Final = 1
MAX_MESSAGE_BYTES: Final = 1 << 20
INGEST_GROUP: Final = "milepost.ingest"
"""Only the name that ingest's offsets are kept under: nobody joins it."""

# Retention counts from the broker's clock. By default it counts from the producer's, and an edge whose clock is an
# hour ahead is refused, one whose clock is a week behind sees its records deleted as soon as they arrive.
# A day's segment: a segment is deleted as a whole, so it bounds how long past the retention a record can stay.
EVENTS_SETTINGS: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(EVENTS_RETENTION_MS),
    "segment.ms": str(86_400_000),
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "message.timestamp.type": "LogAppendTime",
}
CONSUMED_SETTINGS: Final = {"cleanup.policy": "compact"}


class Layout(NamedTuple):
    """How a topic is made."""

    partitions: int
    settings: Mapping[str, str]


LAYOUTS: Final = {
    EVENTS_TOPIC: Layout(EVENTS_PARTITIONS, EVENTS_SETTINGS),
    CONSUMED_TOPIC: Layout(CONSUMED_PARTITIONS, CONSUMED_SETTINGS),
}
"""By name."""

VERSION: Final = 1
RECORD, GAP, STANDING = 1, 2, 3
_HEAD: Final = Struct("<BBHQ")
_GAP: Final = Struct("<Q")
_STANDING: Final = Struct("<QB")
_STREAM_BYTES: Final = 16


class UnreadableMessage(ValueError):
    """Not a message of these topics; the text says what is wrong."""


class UnknownVersion(Exception):
    """Written by a later version: nothing behind it may be read before this program is brought up to date."""


class Record(NamedTuple):
    seq: int
    kind: int
    payload: bytes


class Gap(NamedTuple):
    """Seqs first … last can be read nowhere."""

    first: int
    last: int
    reason: str


class Standing(NamedTuple):
    """`next_seq` follows the last seq that the worker synced; `losses`: clicks it declared lost; `finished`: it is
    gone, and everything it left has been sent."""

    next_seq: int
    losses: int
    finished: bool


Message = Record | Gap | Standing


class Consumed(NamedTuple):
    """Ingest stores the stream from `next_seq` on; it had read `partition` of the events up to, not including,
    `offset` when it said so."""

    next_seq: int
    partition: int
    offset: int


def partition_of(stream: bytes, partitions: int) -> int:
    """The partition for a stream's whole life, chosen when it is first seen; `partitions` as the topic has them."""
    return int.from_bytes(stream[:8], "big") % partitions


def encode_record(seq: int, kind: int, payload: bytes) -> bytes:
    return _HEAD.pack(VERSION, RECORD, kind, seq) + payload


def encode_gap(gap: Gap) -> bytes:
    return _HEAD.pack(VERSION, GAP, 0, gap.first) + _GAP.pack(gap.last) + gap.reason.encode()


def encode_standing(standing: Standing) -> bytes:
    return _HEAD.pack(VERSION, STANDING, 0, standing.next_seq) + _STANDING.pack(standing.losses, standing.finished)


def decode(value: bytes) -> Message | None:
    """The message, None for one of an unknown type. Raises UnreadableMessage and UnknownVersion."""
    try:
        version, kind_of_message, kind, seq = _HEAD.unpack_from(value)
        if version != VERSION:
            raise UnknownVersion(f"message version {version}; this program reads {VERSION}")
        if kind_of_message == RECORD:
            return Record(seq, kind, value[_HEAD.size :])
        if kind_of_message == GAP:
            (last,) = _GAP.unpack_from(value, _HEAD.size)
            if last < seq:
                raise UnreadableMessage(f"a gap from {seq} to {last}")
            return Gap(seq, last, value[_HEAD.size + _GAP.size :].decode("utf-8", "replace"))
        if kind_of_message == STANDING:
            losses, finished = _STANDING.unpack_from(value, _HEAD.size)
            return Standing(seq, losses, bool(finished))
    except StructError as error:
        raise UnreadableMessage(f"{len(value)} bytes are too few: {error}") from None
    return None


def stream_of(key: bytes | None) -> bytes:
    """The stream that a message's key names. Raises UnreadableMessage."""
    if key is None or len(key) != _STREAM_BYTES:
        raise UnreadableMessage("the key is no stream id")
    return key


def encode_consumed(consumed: Consumed) -> bytes:
    next_seq, partition, offset = consumed
    return orjson.dumps({"v": VERSION, "next": next_seq, "partition": partition, "offset": offset})


def decode_consumed(value: bytes) -> Consumed:
    """Raises UnreadableMessage."""
    try:
        said = orjson.loads(value)
        numbers = said["next"], said["partition"], said["offset"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UnreadableMessage(f"not what ingest says: {error}") from None
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise UnreadableMessage(f"not what ingest says: {numbers}")
    return Consumed(*numbers)
