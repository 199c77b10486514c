"""Covers the edge under a wall clock that is stepped while it runs: back an hour, on a day, into the past century and
beyond 2038. Ids stay unique, valid and unclamped, answers and deadlines go on, every answered click is in the journal
and ingest can store it.

The rule for what is reported meanwhile is in ../../unit/edge/test_clock.py.
"""

import glob
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from edge.clock import STEP_NS
from management.ingest.decode import DAY_MS, ClickRow, decode
from shared import events
from shared.data_dir import DataDir
from shared.ids import ClickId
from shared.journal import StreamReader, stream_id, streams
from shared.traffic import Flag
from tests.faults.edge.visitors import CAMPAIGN
from tests.integration.edge.harness import BROWSER, Edge, Valkey, await_true

HOUR, DAY = 3_600.0, 86_400.0
YEAR_1995, YEAR_2039 = 788_961_600, 2_177_496_000  # noon: a clock that is read a moment late is still that day's
CLICKS = 12
LINK = f"/c/{CAMPAIGN.uuid}"
TOLERANCE = 15.0
"""Seconds between a reading here and one of the edge on a busy machine: less than the smallest step."""


def library() -> str:
    found = sorted(
        glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib*/faketime/libfaketimeMT.so.1")
    )
    assert found, "the test needs libfaketime; on Debian type: sudo apt-get install -y libfaketime"
    return found[0]


class WallClock:
    """The wall clock that a program started with `settings` sees; every other clock of it is the machine's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.offset = 0.0
        self.set(0.0)
        self.settings = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, offset: float) -> None:
        """Step it to so many seconds beside the machine's, in one instant for all who look."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset:+.0f}\n")
        draft.replace(self._file)
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "offset")


@pytest.fixture
def edge(tmp_path: Path, valkey: Valkey, clock: WallClock) -> Iterator[Edge]:
    root = tmp_path / "edge"
    root.mkdir()
    with Edge(DataDir.at(root), valkey.url, settings=clock.settings) as running:
        yield running


def steps() -> list[float]:
    """Offsets to step to, one after the other, and at last home."""
    now = time.time()
    return [-HOUR, DAY, YEAR_1995 - now, YEAR_2039 - now, 0.0]


def click_of(edge: Edge) -> ClickId:
    answer = edge.get(LINK)
    assert answer.status == 302
    return edge.click_ids().prove(parse_qs(urlsplit(answer.location).query)["clickid"][0])


def stored(edge: Edge) -> dict[bytes, ClickRow]:
    """Every click of the journal as ingest would store it."""
    found: dict[bytes, ClickRow] = {}
    for path in streams(edge.data_dir.journal):
        with StreamReader(path) as reader:
            batch = reader.read(100_000, 1 << 26)
        assert batch.gaps == []
        for seq, kind, payload in batch.records:
            if kind == events.CLICK:
                row = decode(stream_id(path), seq, kind, payload)
                assert isinstance(row, ClickRow)
                assert row.click_id not in found
                found[row.click_id] = row
    return found


def test_ids_are_unique_valid_and_as_the_clock_said(edge: Edge, clock: WallClock) -> None:
    answered = [click_of(edge)]
    for offset in steps():
        clock.set(offset)
        for _ in range(CLICKS):
            before = clock.now()
            click = click_of(edge)
            assert before - 1 <= click.time_ms / 1000 <= clock.now() + 1, "never clamped"
            answered.append(click)
        assert edge.admin("/readyz").status == 200
    raw = {click.raw for click in answered}
    assert len(raw) == len(answered) == 1 + CLICKS * len(steps())
    found = stored(edge)
    assert found.keys() == raw
    for click in answered:
        assert found[click.raw].day == click.time_ms // DAY_MS
    assert {click.time_ms // DAY_MS for click in answered} >= {YEAR_1995 // 86_400, YEAR_2039 // 86_400}
    assert edge.stop() == 0


def test_deadlines_run_by_the_time_that_passes(edge: Edge, clock: WallClock) -> None:
    with (
        socket.create_connection(("127.0.0.1", edge.port), 20) as idle,
        socket.create_connection(("127.0.0.1", edge.port), 20) as slow,
    ):
        request = f"GET {LINK} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {BROWSER}\r\n\r\n".encode()
        idle.sendall(request)
        assert idle.recv(4096).startswith(b"HTTP/1.1 302 ")
        for offset in steps():
            slow.sendall(request[:20])
            clock.set(offset)
            time.sleep(0.3)
            slow.sendall(request[20:])
            assert slow.recv(4096).startswith(b"HTTP/1.1 302 "), "a step is no delay"
        idle.sendall(request)
        assert idle.recv(4096).startswith(b"HTTP/1.1 302 ")
        clock.set(-DAY)
        slow.sendall(request[:20])
        slow.settimeout(20)
        last = b""
        while received := slow.recv(4096):
            last = received
        assert not last.startswith(b"HTTP/1.1 302 "), "and no reprieve"


def test_the_time_that_is_reported_is_chosen_once_and_flagged(edge: Edge, clock: WallClock) -> None:
    click_of(edge)
    seen = len(edge.clicks())
    for offset in steps():
        clock.set(offset)
        for _ in range(3):
            click_of(edge)
        await_true(lambda wanted=seen + 3: len(edge.clicks()) == wanted, "the journal has the clicks")  # type: ignore[misc]
        for event in edge.clicks()[seen:]:
            suspect = bool(event["flags"] & Flag.CLOCK_SUSPECT)
            assert suspect == (offset != 0.0)
            assert abs(event["ts"] / 1000 - time.time()) < TOLERANCE
            click = edge.click_ids().prove(event["id"])
            assert abs(click.time_ms / 1000 - clock.now()) < TOLERANCE
            assert suspect == (abs(click.time_ms - event["ts"]) > STEP_NS // 1_000_000)
        seen += 3
