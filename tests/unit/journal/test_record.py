"""Covers the pure codec: encoding, bounds, runs of records, and what is found again in mutated bytes.

Leaves to test_damage.py the same mutations seen through a reader and real files.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.journal.record import (
    MAGIC,
    MAX_PAYLOAD,
    SEGMENT_HEADER_BYTES,
    PayloadRefused,
    Record,
    SegmentHeader,
    UnknownVersion,
    decode_at,
    decode_segment_header,
    encode,
    encode_segment_header,
    survivors,
    take_run,
)
from tests.unit.journal.mutations import Mutation, mutations, payload_lists

STREAM = bytes(range(16))


def take_all(buffer: bytes, start: int, seq: int) -> tuple[list[Record], int, int]:
    records: list[Record] = []
    position, next_seq = take_run(buffer, start, seq, records, 1 << 30, 1 << 30)
    return records, position, next_seq


@given(st.integers(0, 2**64 - 1), st.integers(0, 255), st.binary(max_size=2000).filter(lambda p: MAGIC not in p))
def test_a_record_reads_back_as_it_was_written(seq: int, kind: int, payload: bytes) -> None:
    encoded = encode(seq, kind, payload)
    assert decode_at(encoded, 0) == ((seq, kind, payload), len(encoded))


def test_the_largest_payload_fits_and_one_byte_more_is_refused() -> None:
    assert decode_at(encode(1, 0, bytes(MAX_PAYLOAD)), 0) is not None
    with pytest.raises(PayloadRefused):
        encode(1, 0, bytes(MAX_PAYLOAD + 1))


def test_a_payload_cannot_hold_a_forged_record() -> None:
    with pytest.raises(PayloadRefused):
        encode(1, 0, b'{"a":"' + encode(2, 0, b"forged") + b'"}')


def test_the_magic_cannot_be_part_of_any_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        MAGIC[:1].decode()
    assert all(MAGIC[:1] not in chr(code).encode() for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def test_a_byte_of_the_magic_alone_is_no_reason_to_refuse() -> None:
    payload = MAGIC[:1] * 9 + MAGIC[1:]
    assert decode_at(encode(7, 1, payload[:-1]), 0) is not None


@pytest.mark.parametrize("place", range(len(encode(5, 3, b"{}"))))
@pytest.mark.parametrize("bit", range(8))
def test_every_single_bit_is_covered(place: int, bit: int) -> None:
    damaged = bytearray(encode(5, 3, b"{}"))
    damaged[place] ^= 1 << bit
    assert decode_at(bytes(damaged), 0) is None


def test_a_run_ends_before_a_number_that_is_not_the_next() -> None:
    buffer = encode(1, 0, b"a") + encode(2, 0, b"b") + encode(4, 0, b"d")
    records, position, next_seq = take_all(buffer, 0, 1)
    assert [seq for seq, _, _ in records] == [1, 2]
    assert (position, next_seq) == (len(encode(1, 0, b"a")) * 2, 3)


@pytest.mark.parametrize("cut", range(1, len(encode(2, 0, b"bb")) + 1))
def test_a_run_ends_before_a_cut_record(cut: int) -> None:
    first = encode(1, 0, b"a")
    buffer = (first + encode(2, 0, b"bb"))[:-cut]
    assert take_all(buffer, 0, 1) == ([(1, 0, b"a")], len(first), 2)


def test_a_run_is_bounded_by_number_and_by_bytes_but_takes_at_least_one() -> None:
    one = encode(1, 0, b"x" * 100)
    buffer = b"".join(encode(seq, 0, b"x" * 100) for seq in range(1, 11))
    records: list[Record] = []
    assert take_run(buffer, 0, 1, records, 3, 1 << 30) == (3 * len(one), 4)
    assert take_run(buffer, 3 * len(one), 4, records, 100, len(one) + 1) == (5 * len(one), 6)
    assert take_run(buffer, 5 * len(one), 6, records, 100, 1) == (6 * len(one), 7)
    assert [seq for seq, _, _ in records] == [1, 2, 3, 4, 5, 6]


@example([b"{}"], [Mutation("duplicate", 0, SEGMENT_HEADER_BYTES + 23, 0, b"")])
@given(payload_lists, mutations)
def test_no_mutation_hides_an_untouched_record_or_makes_one_up(payloads: list[bytes], changes: list[Mutation]) -> None:
    written = {seq: encode(seq, seq % 3, payload) for seq, payload in enumerate(payloads, 1)}
    buffer = encode_segment_header(STREAM, 1) + b"".join(written.values())
    for change in changes:
        buffer = change.apply(buffer)

    found = [(place.seq, buffer[place.start : place.end]) for place in survivors(buffer, 0, len(buffer))]

    assert all(written.get(seq) == encoded for seq, encoded in found)
    assert {seq for seq, _ in found} == {seq for seq, encoded in written.items() if encoded in buffer}


@given(st.binary(max_size=3000))
def test_noise_holds_no_record(noise: bytes) -> None:
    assert list(survivors(noise + MAGIC + noise, 0, len(noise) * 2 + 4)) == []


def test_a_header_reads_back_and_each_of_its_bytes_is_covered() -> None:
    header = encode_segment_header(STREAM, 77)
    assert len(header) == SEGMENT_HEADER_BYTES
    assert decode_segment_header(header) == SegmentHeader(STREAM, 77)
    assert decode_segment_header(header[:-1]) is None
    for place in range(len(header)):
        damaged = bytearray(header)
        damaged[place] ^= 0x10
        assert decode_segment_header(bytes(damaged)) is None


def test_an_intact_header_of_another_version_is_an_error_not_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.journal.record.SEGMENT_VERSION", 2)
    header = encode_segment_header(STREAM, 1)
    monkeypatch.undo()
    with pytest.raises(UnknownVersion):
        decode_segment_header(header)
