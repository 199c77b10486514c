"""Messages of one partition as the log gives them → what they say of which stream. Pure."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from management.ingest.batch import DeadLetter, dead_letter
from management.ingest.sources.parking import MAX_SEQ
from management.ingest.sources.place import Message, fingerprint
from shared import topics
from shared.journal import FIRST_SEQ
from shared.topics import EVENTS_TOPIC, Gap, Record, Standing, UnknownVersion, UnreadableMessage

NO_STREAM: Final = bytes(16)
"""Stream of the dead letters that belong to none. Their seq is a digest of the message, so each is kept once however
often its partition is read; the reason says where it stood."""
_NEVER_IN_THE_WINDOW: Final = -(1 << 62)  # of the records' own limit; these count for another one
_LARGEST_KIND: Final = (1 << 15) - 1
_LARGEST_COUNT: Final = (1 << 63) - 1


class Said(NamedTuple):
    """What the message at `offset` says of `stream`."""

    offset: int
    stream: bytes
    message: Record | Gap | Standing


class Chunk(NamedTuple):
    """`end` is the offset behind what was read; `last` the fingerprint of the message before it, "" for none.

    `blocked`: why nothing from `end` on may be read by this program, "" where all was.
    """

    said: list[Said]
    unreadable: list[DeadLetter]
    end: int
    last: str
    blocked: str


def read_messages(partition: int, begin: int, messages: Sequence[Message]) -> Chunk:
    """`messages` ascend from `begin` on."""
    said: list[Said] = []
    unreadable: list[DeadLetter] = []
    end = begin
    last: Message | None = None
    for message in messages:
        try:
            stream = topics.stream_of(message.key)
            found = _decode(message.value)
        except UnknownVersion as error:
            blocked = f"{_where(partition, message)}: {error}"
            return Chunk(said, unreadable, end, fingerprint(last) if last else "", blocked)
        except UnreadableMessage as error:
            unreadable.append(_letter(partition, message, error))
        else:
            if found is not None:
                said.append(Said(message.offset, stream, found))
        end, last = message.offset + 1, message
    return Chunk(said, unreadable, end, fingerprint(last) if last else "", "")


def _decode(value: bytes | None) -> topics.Message | None:
    if value is None:
        raise UnreadableMessage("it has no value")
    found = topics.decode(value)
    if isinstance(found, Record) and not (FIRST_SEQ <= found.seq <= MAX_SEQ and found.kind <= _LARGEST_KIND):
        raise UnreadableMessage(f"a record has seq {found.seq} and kind {found.kind}")
    if isinstance(found, Gap) and not FIRST_SEQ <= found.first <= found.last <= MAX_SEQ:
        raise UnreadableMessage(f"a gap goes from {found.first} to {found.last}")
    if isinstance(found, Standing) and not (
        FIRST_SEQ <= found.next_seq <= MAX_SEQ + 1 and found.losses <= _LARGEST_COUNT
    ):
        raise UnreadableMessage(f"a stream stands at {found.next_seq} with {found.losses} losses")
    return found


def _letter(partition: int, message: Message, error: UnreadableMessage) -> DeadLetter:
    key, value = message.key or b"", message.value or b""
    digest = blake2b(value, key=key[:64], digest_size=8).digest()
    reason = f"{_where(partition, message)}, key {key[:32].hex()}: {error}"
    letter = dead_letter(NO_STREAM, (int.from_bytes(digest, "big") >> 1, 0, value), reason)
    return letter._replace(number=_NEVER_IN_THE_WINDOW)


def _where(partition: int, message: Message) -> str:
    return f"{EVENTS_TOPIC}, partition {partition}, offset {message.offset}"
