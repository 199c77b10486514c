"""Lists of addresses and what they compile into: one table of disjoint intervals per family.

An address list is text: one CIDR or address a line, IPv4 and IPv6 mixed, `#` begins a comment. Pure: no file is read
here.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from socket import AF_INET, AF_INET6, inet_pton

Interval = tuple[int, int]
"""First and last address, both included, as numbers."""

_MAPPED_BITS = 96
_MAPPED_PREFIX = 0xFFFF
_REPORTED_LINES = 5
_BUCKET_BITS = 16
_DIVIDED = 0xFF
"""Stands for a bucket whose addresses differ; there are fewer than eight categories."""


@dataclass(frozen=True, slots=True)
class AddressList:
    """The intervals of one list, by family, and what was wrong with it. `bad_lines` counts all lines that are no
    address; `examples` names the first few with their line numbers."""

    v4: tuple[Interval, ...]
    v6: tuple[Interval, ...]
    bad_lines: int
    examples: tuple[str, ...]

    @property
    def entries(self) -> int:
        return len(self.v4) + len(self.v6)


def parse_list(text: str) -> AddressList:
    """The list in a text. Lines that are no address are counted and passed over. An IPv4 range written as IPv6
    (`::ffff:192.0.2.0/120`) counts as IPv4; bits behind the prefix are ignored."""
    v4: list[Interval] = []
    v6: list[Interval] = []
    bad_lines = 0
    examples: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        parsed = _parse_range(entry)
        if parsed is None:
            bad_lines += 1
            if len(examples) < _REPORTED_LINES:
                examples.append(f"line {number}: {entry[:60]!r}")
            continue
        version, interval = parsed
        (v4 if version == 4 else v6).append(interval)
    return AddressList(tuple(v4), tuple(v6), bad_lines, tuple(examples))


def _parse_range(entry: str) -> tuple[int, Interval] | None:
    address, slash, length_text = entry.partition("/")
    version, bits, family = (6, 128, AF_INET6) if ":" in address else (4, 32, AF_INET)
    length = bits
    if slash:
        if not (length_text.isascii() and length_text.isdigit() and len(length_text) <= 3):
            return None
        length = int(length_text)
        if length > bits:
            return None
    try:
        number = int.from_bytes(inet_pton(family, address), "big")
    except (OSError, ValueError):
        return None
    if version == 6 and length >= _MAPPED_BITS and number >> 32 == _MAPPED_PREFIX:
        version, bits, length, number = 4, 32, length - _MAPPED_BITS, number & 0xFFFFFFFF
    host = (1 << (bits - length)) - 1
    return version, (number & ~host, number | host)


class IntervalTable:
    """The categories of every address of one family: sorted starts of disjoint intervals, one byte of category bits
    for each, and for every value of an address's first 16 bits where its starts begin and, where there are none, the
    categories of them all. A look-up reads one byte, or bisects the few starts of one such bucket; it builds nothing."""

    __slots__ = ("_buckets", "_categories", "_shift", "_starts", "_whole")

    def __init__(self, lists: Mapping[int, Iterable[Interval]], bits: int) -> None:
        """`lists` gives the intervals of each category bit, overlapping and unsorted as they come; `bits` is the
        length of the family's addresses, 32 or 128."""
        starts: list[int] = [0]
        categories = bytearray(1)
        depth = dict.fromkeys(lists, 0)
        current = 0
        # every interval is two events: its category opens at the first address and closes after the last
        events = sorted(
            chain.from_iterable(
                ((first, 1, category), (last + 1, -1, category))
                for category, intervals in lists.items()
                for first, last in intervals
            )
        )
        for position, step, category in events:
            if position >> bits:
                break  # nothing lies behind the last address
            depth[category] += step
            now = current | category if depth[category] else current & ~category
            if now == current:
                continue
            current = now
            if starts[-1] == position:
                categories[-1] = now
            else:
                starts.append(position)
                categories.append(now)
        merged_starts, self._categories = _merged(starts, categories)
        self._starts: Sequence[int] = array("Q", merged_starts) if bits == 32 else merged_starts
        self._shift = bits - _BUCKET_BITS
        buckets = [0] * ((1 << _BUCKET_BITS) + 1)
        whole = bytearray((_DIVIDED,)) * (1 << _BUCKET_BITS)
        for (start, behind), bits_of in zip(pairwise((*merged_starts, 1 << bits)), self._categories, strict=True):
            bucket, last = start >> self._shift, behind >> self._shift
            buckets[bucket + 1] += 1
            whole[bucket + 1 : last] = bytes((bits_of,)) * (last - bucket - 1)
        self._buckets = array("L", accumulate(buckets))
        self._whole = bytes(whole)

    def categories(self, address: int) -> int:
        """The category bits of an address, 0 when it is on no list."""
        bucket = address >> self._shift
        whole = self._whole[bucket]
        if whole != _DIVIDED:
            return whole
        buckets = self._buckets
        return self._categories[bisect_right(self._starts, address, buckets[bucket], buckets[bucket + 1]) - 1]

    def __len__(self) -> int:
        """How many intervals the table has, those between the lists included."""
        return len(self._starts)


def _merged(starts: Sequence[int], categories: bytearray) -> tuple[list[int], bytes]:
    """Neighbours with equal categories become one interval: adjoining ranges of one list close and open again."""
    merged_starts: list[int] = []
    merged = bytearray()
    for start, bits in zip(starts, categories, strict=True):
        if not merged or merged[-1] != bits:
            merged_starts.append(start)
            merged.append(bits)
    return merged_starts, bytes(merged)
