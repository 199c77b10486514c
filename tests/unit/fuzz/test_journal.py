"""The journal's reader over whole directories that went wrong: files swapped, doubled, renamed, cut, overwritten, of
another stream; a file that grows in any steps; a loss page torn at any place.

Changes inside one segment are in ../journal/test_damage.py, the search in bytes alone in ../journal/test_record.py.
"""

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.journal import Gap, Record, StreamReader, UnknownVersion, read_losses
from shared.journal.loss_page import create_losses
from shared.journal.record import MAGIC, decode_at, decode_segment_header, encode, encode_segment_header
from shared.journal.stream import LOSSES_NAME
from tests.unit.fuzz.effort import searched
from tests.unit.journal.mutations import Mutation, mutations, payload_lists
from tests.unit.journal.stream_builder import StreamOnDisk, covered, read_on

Way = Literal["swap", "double", "rename", "delete", "overwrite", "foreign", "join", "mutate", "empty"]


@dataclass(frozen=True)
class Mishap:
    """What befalls one segment file; `other` is a file, or how far a name moves; both are taken modulo what is there."""

    way: Way
    one: int
    other: int
    noise: bytes
    mutation: Mutation


_mishaps = st.lists(
    st.builds(
        Mishap,
        st.sampled_from(("swap", "double", "rename", "delete", "overwrite", "foreign", "join", "mutate", "empty")),
        st.integers(0, 3),
        st.integers(1, 12),
        st.binary(max_size=200) | st.binary(max_size=30).map(lambda noise: noise + MAGIC + noise),
        mutations.map(lambda several: several[0]),
    ),
    max_size=3,
)
_streams = st.lists(payload_lists.map(lambda payloads: payloads[:8]), min_size=1, max_size=4)


class Damaged:
    """A stream of some segments, and what of it is left where it belongs after the mishaps."""

    def __init__(self, root: Path, segments: list[list[bytes]]) -> None:
        self.on_disk = StreamOnDisk(root)
        self._foreign = StreamOnDisk(root)
        self.written: dict[int, Record] = {}
        self._places: dict[int, list[Record]] = {}
        first = 1
        for payloads in segments:
            records = [(seq, seq % 5, payload) for seq, payload in enumerate(payloads, first)]
            self._places[first] = records
            self.written |= {record[0]: record for record in records}
            content = encode_segment_header(self.on_disk.stream, first) + b"".join(
                encode(*record) for record in records
            )
            self.on_disk.segment(first).write_bytes(content + bytes(first % 3 * 1000))
            first += len(payloads)
        self._end = first

    def befall(self, mishap: Mishap) -> None:
        names = sorted(self.on_disk.path.glob("*.seg"))
        if not names:
            return
        file = names[mishap.one % len(names)]
        other = names[mishap.other % len(names)]
        elsewhere = self.on_disk.segment(1 + mishap.other)
        content = file.read_bytes()
        match mishap.way:
            case "swap":
                file.write_bytes(other.read_bytes())
                other.write_bytes(content)
            case "double":
                elsewhere.write_bytes(content)
            case "rename":
                file.rename(elsewhere)
            case "delete":
                file.unlink()
            case "overwrite":
                file.write_bytes(mishap.noise)
            case "foreign":
                records = [(self._end + n, 1, b"theirs") for n in range(3)]
                theirs = encode_segment_header(self._foreign.stream, self._end) + b"".join(encode(*r) for r in records)
                self.on_disk.segment(self._end).write_bytes(theirs)
            case "join":
                file.write_bytes(content + other.read_bytes())
            case "mutate":
                file.write_bytes(mishap.mutation.apply(content))
            case "empty":
                file.write_bytes(b"")

    def untouched(self) -> Iterator[Record]:
        """Records that stand whole in the file of their own name, behind a header that is that file's or none."""
        for first, records in self._places.items():
            file = self.on_disk.segment(first)
            content = file.read_bytes() if file.exists() else b""
            header = decode_segment_header(content)
            if header is None or header == (self.on_disk.stream, first):
                yield from (record for record in records if encode(*record) in content)


@searched
@given(_streams, _mishaps, st.integers(1, 5), st.integers(1, 2000), st.integers(0, 12), st.booleans())
def test_no_mishap_hides_what_is_whole_or_makes_anything_up(
    segments: list[list[bytes]], mishaps: list[Mishap], max_records: int, max_bytes: int, next_seq: int, alive: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        stream = Damaged(Path(root), segments)
        for mishap in mishaps:
            stream.befall(mishap)
        untouched = {record[0]: record for record in stream.untouched()}
        with StreamReader(stream.on_disk.path, next_seq) as reader:
            records: list[Record] = []
            gaps: list[Gap] = []
            if alive:
                with stream.on_disk.held():
                    records, gaps, finished = read_on(reader, max_records, max_bytes)
                    assert not finished
            more, more_gaps, finished = read_on(reader, max_records, max_bytes)
        records, gaps = records + more, gaps + more_gaps
    assert finished
    seqs = [seq for seq, _, _ in records]
    assert seqs == sorted(set(seqs))
    assert all(stream.written.get(record[0]) == record for record in records)
    start = max(next_seq, 1)
    assert covered(records, gaps) == list(range(start, max([start - 1, *covered(records, gaps)]) + 1))
    assert {seq: record for seq, record in untouched.items() if seq >= start}.items() <= {
        r[0]: r for r in records
    }.items()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The process may open no further file, as when others of its parts took them all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@settings(searched, max_examples=100)
@given(_streams, _mishaps, st.lists(st.booleans(), max_size=12), st.integers(1, 9))
@example([[b"a", b"b"], [b"c"]], [], [False, True], 9)
def test_a_read_that_fails_is_repeated_and_loses_nothing(
    segments: list[list[bytes]], mishaps: list[Mishap], failing: list[bool], max_records: int
) -> None:
    with tempfile.TemporaryDirectory() as root:
        stream = Damaged(Path(root), segments)
        for mishap in mishaps:
            stream.befall(mishap)
        with StreamReader(stream.on_disk.path) as reader:
            expected = read_on(reader)
        with StreamReader(stream.on_disk.path) as reader:
            found = reader.read(1, 1)
            records, gaps = found.records, found.gaps
            for fails in failing:
                try:
                    with no_descriptor_left() if fails else nullcontext():
                        found = reader.read(max_records, 1 << 20)
                except OSError:
                    assert fails
                else:
                    records, gaps = records + found.records, gaps + found.gaps
            more, more_gaps, finished = read_on(reader)
    assert (records + more, gaps + more_gaps, finished) == expected


@searched
@given(
    st.lists(st.tuples(st.integers(1, 30) | st.integers(0, 10**20 - 1), st.binary(max_size=300)), max_size=4),
    st.integers(0, 40),
    st.booleans(),
)
def test_a_directory_of_any_bytes_is_read_to_its_end(
    files: list[tuple[int, bytes]], next_seq: int, headed: bool
) -> None:
    with tempfile.TemporaryDirectory() as root:
        stream = StreamOnDisk(Path(root))
        for first, content in files:
            head = encode_segment_header(stream.stream, first) if headed and first < 2**64 else b""
            stream.segment(first).write_bytes(head + content)
        with StreamReader(stream.path, next_seq) as reader:
            try:
                records, _, finished = read_on(reader)
            except UnknownVersion:
                return
    assert finished
    assert records == []


@searched
@given(payload_lists, st.lists(st.integers(1, 400), max_size=30), st.integers(1, 4), st.integers(0, 300))
def test_a_segment_that_grows_in_any_steps_is_never_damaged(
    payloads: list[bytes], steps: list[int], max_records: int, reserved: int
) -> None:
    written = [(seq, 1, payload) for seq, payload in enumerate(payloads, 1)]
    with tempfile.TemporaryDirectory() as root:
        stream = StreamOnDisk(Path(root))
        content = encode_segment_header(stream.stream, 1) + b"".join(encode(*record) for record in written)
        length = len(encode_segment_header(stream.stream, 1))
        seen: list[Record] = []
        with stream.held(), StreamReader(stream.path) as reader:
            for step in (*steps, len(content)):
                stream.segment(1).write_bytes(content[:length] + bytes(reserved))
                records, gaps, finished = read_on(reader, max_records)
                assert (gaps, finished) == ([], False)
                seen += records
                assert seen == written[: len(seen)]
                whole = sum(1 for record in written if content.index(encode(*record)) + len(encode(*record)) <= length)
                assert len(seen) == whole
                length = min(length + step, len(content))
            stream.segment(1).write_bytes(content)
            seen += read_on(reader, max_records)[0]
        assert seen == written


@searched
@given(st.binary(max_size=80), st.integers(0, 20))
def test_no_bytes_are_a_header_or_a_record_by_chance(noise: bytes, start: int) -> None:
    assert decode_segment_header(noise) is None
    assert decode_at(noise, start) is None


@searched
@given(st.lists(st.integers(1, 1000), max_size=5), st.integers(0, 36), st.binary(max_size=60))
def test_a_torn_loss_page_declares_what_was_answered_for(losses: list[int], torn_at: int, noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as root:
        stream = StreamOnDisk(Path(root))
        path = stream.path / LOSSES_NAME
        page = create_losses(stream.path, stream.stream)
        count = 0
        for more in losses:
            count += more
            page.write(count)
            assert read_losses(stream.path) == count
        before = path.read_bytes()
        page.write(count + 7)
        page.close()
        after = path.read_bytes()
        changed = next(place for place in range(len(after)) if before[place] != after[place]) // 4096 * 4096
        torn = after[: changed + torn_at] + before[changed + torn_at :]
        path.write_bytes(torn)
        assert read_losses(stream.path) == (count + 7 if torn == after else count)
        path.write_bytes(noise + after[len(noise) : changed] + noise)
        assert read_losses(stream.path) in (0, count, count + 7)
        path.write_bytes(noise)
        assert read_losses(stream.path) == 0
