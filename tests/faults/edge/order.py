"""Judges a trace of a worker: did each answer begin to leave only after its record was as durable as promised?

Nothing of the edge is asked: records are taken from the bytes written to segments, answers from those sent.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from shared import events
from shared.journal.record import SEGMENT_HEADER_BYTES, decode_at
from tests.faults.edge.calls import Call

OUTPUTS: Final = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg", "sendfile")
SYNCS: Final = ("fdatasync", "fsync")
TRACE: Final = f"--seccomp-bpf -s 1000000 -yy -ttt -e trace={','.join((*OUTPUTS, *SYNCS))} -e signal=none"
"""What strace has to be told."""


class Subject(NamedTuple):
    """Of a record or of an answer: which click, and whether it is its postback."""

    kind: int
    click_id: str


class Copy(NamedTuple):
    """One copy of a record: complete in its segment after the call that ended on this line."""

    segment: str
    complete: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """`judged`: the answers that needed a record. Each violation is a sentence."""

    judged: list[Subject]
    violations: list[str]


def judge(calls: list[Call], durability: str) -> Judgement:
    """`durability` as in MILEPOST_DURABILITY: `fsync` asks for a sync between record and answer, `os` for none."""
    copies = _records(calls)
    syncs = _trusted_syncs(calls)
    judged: list[Subject] = []
    violations: list[str] = []
    for subject, leaves in _answers(calls):
        judged.append(subject)
        known = [copy for copy in copies[subject] if copy.complete < leaves]
        if not known:
            violations.append(f"{subject}: answered on line {leaves}, not written before it")
        elif durability == "fsync" and not any(
            copy.complete < sync.began and sync.ended is not None and sync.ended < leaves
            for copy in known
            for sync in syncs[copy.segment]
        ):
            violations.append(
                f"{subject}: answered on line {leaves}, written on {known[0].complete}, not synced between"
            )
    return Judgement(judged, violations)


def _trusted_syncs(calls: list[Call]) -> "defaultdict[str, list[Call]]":
    """By segment. After a sync that failed the kernel may report success for what it has dropped, so none of the
    same file counts any more."""
    syncs = defaultdict[str, list[Call]](list)
    failed: set[str] = set()
    for call in calls:
        segment = _segment(call.path)
        if call.name in SYNCS and call.ended is not None and segment not in failed:
            if call.result == 0:
                syncs[segment].append(call)
            else:
                failed.add(segment)
    return syncs


def _segment(path: str) -> str:
    """A segment's name in its stream, the same before and after both lost the dots of their birth."""
    segment = PurePath(path)
    return f"{segment.parent.name.lstrip('.')}/{segment.name.lstrip('.')}"


class _Bytes:
    """What several calls wrote one after another, and on which line each byte's call began and ended."""

    def __init__(self) -> None:
        self.whole = bytearray()
        self._ends: list[tuple[int, Call]] = []

    def add(self, call: Call) -> None:
        written = len(call.sent) if call.result is None else max(call.result, 0)
        self.whole += call.sent[:written]
        self._ends.append((len(self.whole), call))

    def writer_of(self, position: int) -> Call:
        return next(call for end, call in self._ends if position < end)


def _written(calls: Iterable[Call], is_wanted: re.Pattern[str]) -> dict[str, _Bytes]:
    """By path, in order; segments and connections are only ever appended to."""
    found = defaultdict[str, _Bytes](_Bytes)
    for call in calls:
        if call.name in OUTPUTS and is_wanted.search(call.path):
            name = _segment(call.path) if call.path.endswith(".seg") else call.path
            found[name].add(call)
    return found


def _records(calls: list[Call]) -> "defaultdict[Subject, list[Copy]]":
    copies = defaultdict[Subject, list[Copy]](list)
    for segment, written in _written(calls, re.compile(r"\.seg$")).items():
        content, position = bytes(written.whole), SEGMENT_HEADER_BYTES
        while (decoded := decode_at(content, position)) is not None:
            (_, kind, payload), position = decoded
            last = written.writer_of(position - 1)
            if last.ended is not None and kind in (events.CLICK, events.POSTBACK):
                event = events.decode(payload)
                subject = Subject(kind, event["id" if kind == events.CLICK else "click_id"])
                copies[subject].append(Copy(segment, last.ended))
    return copies


def _answers(calls: list[Call]) -> Iterator[tuple[Subject, int]]:
    """Every answer that says something was recorded, and the line on which the call that began it began."""
    for sent in _written(calls, re.compile(r"^TCP")).values():
        content, position = bytes(sent.whole), 0
        while (head_end := content.find(b"\r\n\r\n", position)) >= 0:
            status_line, *lines = content[position:head_end].decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:] for line in lines)
            body = content[head_end + 4 : head_end + 4 + int(headers.get("content-length", "0"))]
            subject = _subject(status_line, headers, body)
            if subject is not None:
                yield subject, sent.writer_of(position).began
            position = head_end + 4 + len(body)


def _subject(status_line: str, headers: dict[str, str], body: bytes) -> Subject | None:
    status = status_line.split()[1]
    if status == "302":
        return Subject(events.CLICK, parse_qs(urlsplit(headers["location"]).query)["clickid"][0])
    if status == "200" and body.startswith(b'{"success":true'):
        return Subject(events.POSTBACK, orjson.loads(body)["data"]["click_id"])
    return None
