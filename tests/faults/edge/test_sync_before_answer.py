"""Covers, by the system calls of a real worker: an answer begins to leave only after a completed fdatasync that began
when its record was written (`fsync`), or after the completed write (`os`). And that the judge of the trace sees each
way of breaking this.

Leaves the journal's own calls to tests/unit/journal/test_system_calls.py, and failing calls to test_disk.py.
"""

import asyncio
from pathlib import Path

import pytest

from shared import events
from shared.data_dir import DataDir
from shared.journal.record import encode, encode_segment_header
from tests.faults.edge.calls import read_calls
from tests.faults.edge.faulty_edge import FaultyEdge, assert_answered_once, await_trace
from tests.faults.edge.order import TRACE, Judgement, judge
from tests.faults.edge.visitors import Ledger, Style, Visitor
from tests.integration.edge.harness import Valkey

STYLES: tuple[Style, ...] = ("kept", "kept", "kept", "single", "pipelined", "pipelined")
ROUNDS = 25


@pytest.mark.parametrize("durability", ["fsync", "os"])
async def test_every_answer_follows_what_makes_its_record_durable(
    tmp_path: Path, valkey: Valkey, durability: str
) -> None:
    trace = tmp_path / "trace"
    ledger = Ledger()
    (tmp_path / "edge").mkdir()
    edge = FaultyEdge(
        DataDir.at(tmp_path / "edge"),
        valkey.url,
        {"MILEPOST_DURABILITY": durability},
        lives={0: [f"-o {trace} {TRACE}"]},
    )
    with edge:
        visitors = [Visitor(edge.port, style, ledger, converts=True) for style in STYLES]
        await asyncio.gather(*(visitor.run(asyncio.Event(), ROUNDS) for visitor in visitors))
        assert edge.stop() == 0
        assert_answered_once(edge, ledger)
    judgement = judge(read_calls(await_trace(trace)), durability)
    assert judgement.violations == []
    assert ledger.broken == []
    assert len(ledger.clicks) >= 500
    assert len(ledger.postbacks) >= 3
    assert {subject.click_id for subject in judgement.judged if subject.kind == events.CLICK} == set(ledger.clicks)
    assert len(judgement.judged) == len(ledger.clicks) + len(ledger.postbacks)


SEGMENT = "/data/journal/0123456789abcdef0123456789abcdef/00000000000000000001.seg"
CONNECTION = "TCP:[127.0.0.1:8080->127.0.0.1:40000]"


def shown(content: bytes) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in content) + f'", {len(content)}'


def click(number: int) -> bytes:
    return events.encode({"v": events.VERSION, "id": f"clk_{number}"})


def record(number: int) -> str:
    return shown(encode(number, events.CLICK, click(number)))


def answer(*numbers: int) -> str:
    answers = (
        b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nLocation: https://shop.example/?clickid=clk_%d\r\n\r\n" % number
        for number in numbers
    )
    return shown(b"".join(answers))


HEADER = f"1 1.0 write(7<{SEGMENT}>, {shown(encode_segment_header(bytes(16), 1))}) = 38"
WRITES = f"2 1.1 write(7<{SEGMENT}>, {record(1)}) = {len(encode(1, events.CLICK, click(1)))}"
WRITE_BEGINS = WRITES.rpartition(")")[0] + " <unfinished ...>"
WRITE_ENDS = f"2 1.1 <... write resumed>) {WRITES.rpartition(') ')[2]}"
SYNC_BEGINS = f"2 1.2 fdatasync(7<{SEGMENT}> <unfinished ...>"
SYNC_ENDS = "2 1.3 <... fdatasync resumed>) = 0"
SYNC_FAILS = "2 1.3 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)"
OTHER_SYNC = f"2 1.3 fdatasync(8<{SEGMENT.replace('1.seg', '9.seg')}>) = 0"
ANSWERS = f"1 1.4 write(9<{CONNECTION}>, {answer(1)}) = 99"
ANSWER_BEGINS = ANSWERS.rpartition(")")[0] + " <unfinished ...>"
ANSWER_ENDS = "1 1.4 <... write resumed>) = 99"
TWO_ANSWERS = f"1 1.4 write(9<{CONNECTION}>, {answer(1, 2)}) = 198"


def verdict(durability: str, *lines: str) -> Judgement:
    return judge(read_calls([HEADER, *lines]), durability)


def test_the_judge_accepts_what_is_in_order() -> None:
    assert verdict("fsync", WRITES, SYNC_BEGINS, SYNC_ENDS, ANSWERS).violations == []
    assert verdict("fsync", WRITE_BEGINS, WRITE_ENDS, SYNC_BEGINS, SYNC_ENDS, ANSWER_BEGINS).violations == []
    assert verdict("os", WRITES, ANSWERS).violations == []


@pytest.mark.parametrize(
    ("durability", "lines"),
    [
        pytest.param("fsync", [WRITES, ANSWERS], id="no sync"),
        pytest.param("fsync", [WRITES, SYNC_BEGINS, ANSWER_BEGINS, SYNC_ENDS, ANSWER_ENDS], id="sync not over"),
        pytest.param("fsync", [WRITES, SYNC_BEGINS, ANSWERS], id="sync never over"),
        pytest.param("fsync", [WRITES, SYNC_BEGINS, SYNC_FAILS, ANSWERS], id="sync failed"),
        pytest.param(
            "fsync", [WRITES, SYNC_BEGINS, SYNC_FAILS, SYNC_BEGINS, SYNC_ENDS, ANSWERS], id="sync tried again"
        ),
        pytest.param("fsync", [WRITE_BEGINS, SYNC_BEGINS.replace("2 ", "3 ", 1), WRITE_ENDS,
                               SYNC_ENDS.replace("2 ", "3 ", 1), ANSWERS], id="sync began before the write was over"),
        pytest.param("fsync", [WRITES, OTHER_SYNC, ANSWERS], id="sync of another segment"),
        pytest.param("fsync", [SYNC_BEGINS, SYNC_ENDS, WRITES, ANSWERS], id="sync before the write"),
        pytest.param("fsync", [ANSWERS, WRITES, SYNC_BEGINS, SYNC_ENDS], id="answer before the write"),
        pytest.param("fsync", [WRITES, SYNC_BEGINS, SYNC_ENDS, TWO_ANSWERS], id="second answer without a record"),
        pytest.param("os", [WRITE_BEGINS, ANSWERS, WRITE_ENDS], id="os: write not over"),
        pytest.param("os", [ANSWERS, WRITES], id="os: answer before the write"),
        pytest.param("os", [WRITES.rpartition("=")[0] + "= 12", ANSWERS], id="os: write cut short"),
    ],
)  # fmt: skip
def test_the_judge_sees(durability: str, lines: list[str]) -> None:
    assert len(verdict(durability, *lines).violations) == 1
