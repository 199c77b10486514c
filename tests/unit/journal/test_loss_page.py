"""Covers the loss page: no loss is answered before it is counted, through any kill, and without one the count is exact.

Leaves the counts of a disk that is really full to test_full_disk.py, their storing to
tests/integration/ingest/test_journal_source.py.
"""

import asyncio
import errno
import os
import random
import secrets
import sys
import time
from functools import partial
from io import BufferedReader
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from shared.journal import JournalFailed, JournalWriter, read_losses, streams
from shared.journal.group import settle
from shared.journal.loss_page import create_losses
from shared.journal.stream import LOSSES_NAME
from tests.unit.journal.stream_builder import no_failure
from tests.unit.journal.traced import REPOSITORY

WAITERS = 16
BOTH = pytest.mark.parametrize("durability", ["fsync", "os"])


def start_losing(root: Path, durability: str) -> "Popen[bytes]":
    command = [sys.executable, "-m", "tests.unit.journal.losing_process", str(root), durability, str(WAITERS)]
    return Popen(command, cwd=REPOSITORY, stdout=PIPE, stderr=PIPE)


@BOTH
@pytest.mark.parametrize("life", range(6))
def test_a_kill_leaves_at_least_what_was_answered(tmp_path: Path, durability: str, life: int) -> None:
    with start_losing(tmp_path, durability) as child:
        assert isinstance(child.stdout, BufferedReader)
        answered = len(child.stdout.read(1))
        deadline = time.monotonic() + random.uniform(0, 0.03 * (life + 1))
        while time.monotonic() < deadline:
            answered += len(child.stdout.read1(1 << 16))
        child.kill()
        answered += len(child.stdout.read())
    (path,) = streams(tmp_path)
    assert answered <= read_losses(path) <= answered + WAITERS


@BOTH
def test_without_a_kill_the_count_is_exact(tmp_path: Path, durability: str) -> None:
    with start_losing(tmp_path, durability) as child:
        assert isinstance(child.stdout, BufferedReader)
        assert isinstance(child.stderr, BufferedReader)
        answered = len(child.stdout.read(500))
        child.terminate()
        answered += len(child.stdout.read())
        said = child.stderr.read()
    assert (child.returncode, said) == (0, b"full\nclosed\n")
    (path,) = streams(tmp_path)
    assert read_losses(path) == answered >= 500


def page_with(tmp_path: Path, *counts: int) -> Path:
    stream = secrets.token_bytes(16)
    path = tmp_path / stream.hex()
    path.mkdir()
    page = create_losses(path, stream)
    for count in counts:
        page.write(count)
    page.close()
    return path


def test_each_count_replaces_the_one_before(tmp_path: Path) -> None:
    assert read_losses(tmp_path / ("0" * 32)) == 0
    for last in range(5):
        assert read_losses(page_with(tmp_path, *range(3, 3 + last))) == (2 + last if last else 0)


@pytest.mark.parametrize("declared", [1, 2, 3])
def test_a_torn_count_leaves_the_one_before_it(tmp_path: Path, declared: int) -> None:
    counts = [7, 300, 70_000][:declared]
    path = page_with(tmp_path, *counts)
    before = page_with(tmp_path, *counts[:-1])
    new, old = (at / LOSSES_NAME for at in (path, before))
    page, former = new.read_bytes(), old.read_bytes()
    slot = 4096 * ((declared - 1) % 2)
    former = former.replace(bytes.fromhex(before.name), bytes.fromhex(path.name))
    for torn_at in range(36):
        new.write_bytes(page[: slot + torn_at] + former[slot + torn_at : slot + 36] + page[slot + 36 :])
        found = read_losses(path)
        assert found == (counts[-2] if declared > 1 else 0) or (found == counts[-1] and torn_at >= 32), torn_at


def test_a_page_of_another_stream_declares_nothing(tmp_path: Path) -> None:
    ours, theirs = page_with(tmp_path, 5), page_with(tmp_path, 9)
    (theirs / LOSSES_NAME).rename(ours / LOSSES_NAME)
    assert read_losses(ours) == 0


@pytest.mark.parametrize("length", [0, 1, 35, 36, 4095, 4096, 4131, 4132, 8192])
def test_a_page_cut_short_keeps_what_is_whole(tmp_path: Path, length: int) -> None:
    path = page_with(tmp_path, 5, 6)
    page = (path / LOSSES_NAME).read_bytes()
    (path / LOSSES_NAME).write_bytes(page[:length])
    assert read_losses(path) == (6 if length >= 4132 else 5 if length >= 36 else 0)


@BOTH
async def test_losses_and_records_share_a_commit(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalWriter.open(tmp_path, "fsync" if durability == "fsync" else "os", on_failure=no_failure)
    size = (journal.path / LOSSES_NAME).stat().st_size
    writes: list[int] = []
    pwrite = os.pwrite

    def counted(fd: int, piece: bytes, at: int) -> int:
        writes.append(at)
        return pwrite(fd, piece, at)

    monkeypatch.setattr(os, "pwrite", counted)
    loop = asyncio.get_running_loop()
    declared = [loop.create_future() for _ in range(5)]
    for future in declared:
        journal.declare_lost(partial(settle, future))
    recorded = [journal.append(1, b"{}") for _ in range(3)]
    assert journal.declared_losses == 0
    await asyncio.gather(*declared, *recorded)
    assert len(writes) == 1
    assert (journal.declared_losses, read_losses(journal.path), journal.synced_seq) == (5, 5, 3)
    assert (journal.path / LOSSES_NAME).stat().st_size == size == 8192
    await journal.close()


async def test_a_loss_that_cannot_be_counted_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    journal = JournalWriter.open(tmp_path, "fsync", on_failure=failures.append)

    def worn_disk(fd: int, piece: bytes, at: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", worn_disk)
    declared = asyncio.get_running_loop().create_future()
    journal.declare_lost(partial(settle, declared))
    with pytest.raises(JournalFailed):
        await declared
    assert journal.declared_losses == 0
    await journal.close()
    assert len(failures) == 1
