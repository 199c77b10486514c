"""The journal's bytes: how a record and a segment's header look, and how to find records in damaged bytes.

Pure: no files here. All numbers are little endian. A segment is one header and then records without gaps:

    header  magic 8s | version u16 | stream 16s | first seq u64 | CRC32 of all before u32        38 bytes
    record  length u32 | magic 4s | CRC32 u32 | seq u64 | kind u8 | payload of `length` bytes    21 + n bytes

The CRC runs over seq, kind and payload and starts from the length in place of zero, so it covers all four in
one pass. Both magics hold the byte 0xF5, which no UTF-8 text contains, and `encode` refuses a payload that holds
the record's magic: whatever a visitor sends, the inside of a payload is never taken for a record.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

MAX_PAYLOAD = 64 * 1024
FIRST_SEQ = 1  # so that the last seq of a stream is also the number of its records

MAGIC = b"\xf5mp\xfb"
_NEVER_IN_UTF8 = MAGIC[:1]
_HEAD = Struct("<I4sIQB")
_SEQ_KIND = Struct("<QB")
_MAGIC_AT = 4
_CRC_COVERS_FROM = 12
_pack_head, _pack_seq_kind = _HEAD.pack, _SEQ_KIND.pack  # bound once: `encode` is the hot path
HEAD_BYTES = _HEAD.size
MAX_RECORD = HEAD_BYTES + MAX_PAYLOAD

SEGMENT_VERSION = 1
_SEGMENT_MAGIC = b"\xf5mpseg\r\n"
_SEGMENT_FIELDS = Struct("<8sH16sQ")
_SEGMENT_CRC = Struct("<I")
SEGMENT_HEADER_BYTES = _SEGMENT_FIELDS.size + _SEGMENT_CRC.size

Record = tuple[int, int, bytes]
"""(seq, kind, payload)"""


class PayloadRefused(ValueError):
    """The payload is longer than `MAX_PAYLOAD` or holds the record's magic; nothing was written."""


class UnknownVersion(Exception):
    """An intact segment header of a version this program does not know: it must be read by a newer milepost."""


class SegmentHeader(NamedTuple):
    stream: bytes
    first_seq: int


class Place(NamedTuple):
    """Where an intact record lies in a buffer: bytes [start, end)."""

    seq: int
    start: int
    end: int


def encode(seq: int, kind: int, payload: bytes) -> bytes:
    """The record as written to a segment. Raises `PayloadRefused`."""
    size = len(payload)
    if size > MAX_PAYLOAD:
        raise PayloadRefused(f"payload of {size} bytes, at most {MAX_PAYLOAD} fit a record")
    # The one-byte search is a memchr; the search for the whole magic is 20 times slower and almost never needed.
    if _NEVER_IN_UTF8 in payload and MAGIC in payload:
        raise PayloadRefused("payload holds the magic of a journal record")
    crc = crc32(payload, crc32(_pack_seq_kind(seq, kind), size))
    return _pack_head(size, MAGIC, crc, seq, kind) + payload


def renumbered(record: bytes, seq: int) -> bytes:
    """An encoded record under another seq."""
    *_, kind = _HEAD.unpack_from(record, 0)
    return encode(seq, kind, record[HEAD_BYTES:])


def take_run(
    buffer: bytes, start: int, seq: int, records: list[Record], max_records: int, max_bytes: int
) -> tuple[int, int]:
    """Appends to `records` the intact records that begin at `start` and are numbered seq, seq + 1, ….

    Stops before whatever is not the next record (zeros, a cut record, damage, another number: the caller tells
    which), after `max_records`, or after the record that reaches `max_bytes`. Gives (position, next seq).
    """
    unpack, magic, crc_covers_from, head_bytes = _HEAD.unpack_from, MAGIC, _CRC_COVERS_FROM, HEAD_BYTES
    take = records.append
    last_head = len(buffer) - head_bytes
    position, last_seq = start, seq + max_records
    stop_at = min(last_head + 1, start + max_bytes)
    while position < stop_at and seq < last_seq:
        size, found_magic, crc, found_seq, kind = unpack(buffer, position)
        end = position + head_bytes + size
        if (
            found_seq != seq
            or found_magic != magic
            or end > len(buffer)
            or size > MAX_PAYLOAD
            or crc32(buffer[position + crc_covers_from : end], size) != crc
        ):
            break
        take((seq, kind, buffer[position + head_bytes : end]))
        position = end
        seq += 1
    return position, seq


def decode_at(buffer: bytes, start: int) -> tuple[Record, int] | None:
    """The intact record at `start` and its end, or None."""
    if start + HEAD_BYTES > len(buffer):
        return None
    size, magic, crc, seq, kind = _HEAD.unpack_from(buffer, start)
    end = start + HEAD_BYTES + size
    if magic != MAGIC or size > MAX_PAYLOAD or end > len(buffer):
        return None
    if crc32(buffer[start + _CRC_COVERS_FROM : end], size) != crc:
        return None
    return (seq, kind, buffer[start + HEAD_BYTES : end]), end


def survivors(buffer: bytes, start: int, limit: int) -> Iterator[Place]:
    """Every intact record that begins in [start, limit), wherever it lies and whatever its seq, in order of place.

    For use behind damage. Always ends: each step moves at least one byte on.
    """
    position = start
    while position < limit:
        decoded = decode_at(buffer, position)
        if decoded is not None:
            (seq, _, _), end = decoded
            yield Place(seq, position, end)
            position = end
            continue
        magic_at = _find_magic(buffer, position + _MAGIC_AT + 1)
        if magic_at < 0:
            return
        position = magic_at - _MAGIC_AT


def _find_magic(buffer: bytes, start: int) -> int:
    # Looking for the single byte is a memchr, which passes zeros and text some 50 times faster.
    while (start := buffer.find(_NEVER_IN_UTF8, start)) >= 0:
        if buffer.startswith(MAGIC, start):
            return start
        start += 1
    return -1


def encode_segment_header(stream: bytes, first_seq: int) -> bytes:
    fields = _SEGMENT_FIELDS.pack(_SEGMENT_MAGIC, SEGMENT_VERSION, stream, first_seq)
    return fields + _SEGMENT_CRC.pack(crc32(fields))


def decode_segment_header(buffer: bytes) -> SegmentHeader | None:
    """What the header at the start of `buffer` says, None when it is damaged. Raises `UnknownVersion`."""
    if len(buffer) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, stream, first_seq = _SEGMENT_FIELDS.unpack_from(buffer, 0)
    (crc,) = _SEGMENT_CRC.unpack_from(buffer, _SEGMENT_FIELDS.size)
    if magic != _SEGMENT_MAGIC or crc != crc32(buffer[: _SEGMENT_FIELDS.size]):
        return None
    if version != SEGMENT_VERSION:
        raise UnknownVersion(f"segment version {version}, known is {SEGMENT_VERSION}")
    return SegmentHeader(stream, first_seq)
