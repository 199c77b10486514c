"""Covers the promise against `kill -9`: what was acknowledged is read, in order, once, whenever the writer dies.

Power cuts cannot be made here; that each acknowledgement follows its sync is shown in test_system_calls.py.
"""

import random
import sys
import time
from io import BufferedReader
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from shared.journal import StreamReader, streams
from shared.journal.stream import hidden_streams
from tests.unit.journal.stream_builder import read_on, records_between

REPOSITORY = Path(__file__).parents[3]


def start_writing(root: Path, durability: str) -> "Popen[bytes]":
    command = [sys.executable, "-m", "tests.unit.journal.writing_process", str(root), durability]
    return Popen([*command, "100000", "16", "0"], cwd=REPOSITORY, stdout=PIPE)


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("life", range(6))
def test_what_was_acknowledged_before_a_kill_is_read(tmp_path: Path, durability: str, life: int) -> None:
    with start_writing(tmp_path, durability) as child:
        assert isinstance(child.stdout, BufferedReader)
        acknowledged = child.stdout.read(8)
        deadline = time.monotonic() + random.uniform(0, 0.03 * (life + 1))
        while time.monotonic() < deadline:
            acknowledged += child.stdout.read1(1 << 16)
        child.kill()
        acknowledged += child.stdout.read()

    seqs = {int.from_bytes(acknowledged[at : at + 8], "little") for at in range(0, len(acknowledged) - 7, 8)}
    (path,) = streams(tmp_path)
    with StreamReader(path) as reader:
        records, gaps, finished = read_on(reader)
    assert finished
    assert gaps == []
    assert records == records_between(1, len(records))
    assert max(seqs) <= len(records)


@pytest.mark.parametrize("attempt", range(4))
def test_a_writer_killed_while_it_is_born_leaves_nothing_or_a_stream_that_reads(tmp_path: Path, attempt: int) -> None:
    with start_writing(tmp_path, "fsync") as child:
        while not (hidden_streams(tmp_path) or streams(tmp_path)):
            assert child.poll() is None
        time.sleep(random.uniform(0, 0.004))
        child.kill()
        assert isinstance(child.stdout, BufferedReader)
        child.stdout.read()
    for path in streams(tmp_path):
        with StreamReader(path) as reader:
            records, gaps, finished = read_on(reader)
        assert (records, gaps, finished) == (records_between(1, len(records)), [], True)


def test_the_stream_of_a_living_process_is_not_taken_for_dead(tmp_path: Path) -> None:
    with start_writing(tmp_path, "os") as child:
        assert isinstance(child.stdout, BufferedReader)
        while child.poll() is None:
            for path in streams(tmp_path):
                with StreamReader(path) as reader:
                    if reader.read(1, 1).records:
                        child.kill()
                    else:
                        assert not reader.read(1, 1).finished
        child.stdout.read()
