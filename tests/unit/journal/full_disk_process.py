"""What test_full_disk.py runs on a small disk: a journal that runs out of space, in several ways, and recovers.

    python -m tests.unit.journal.full_disk_process FOLDER SCENARIO fsync|os

Ends with status 0 if every promise was kept, else with the assertion that was not.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from shared.journal import JournalFull, JournalLimits, JournalWriter, StreamReader, read_losses
from shared.journal import writer as writer_module
from shared.journal.group import settle
from tests.unit.journal.stream_builder import no_failure, read_on

CLICK, POSTBACK = 1, 2
CLICK_BYTES, POSTBACK_BYTES = 20_000, 1000


class Books:
    """Takes numbered records to the journal and keeps account of what it answered."""

    def __init__(self, journal: JournalWriter) -> None:
        self.journal = journal
        self.stored: set[int] = set()
        self.lost = 0
        self.refused_postbacks = 0
        self._number = 0

    async def click(self) -> bool:
        return await self._record(CLICK, CLICK_BYTES)

    async def postback(self) -> bool:
        return await self._record(POSTBACK, POSTBACK_BYTES)

    async def _record(self, kind: int, size: int) -> bool:
        """Whether it was stored. A click that was not is declared lost."""
        self._number += 1
        number = self._number
        try:
            await self.journal.append(kind, b"%d" % number + bytes(size), reserved=kind == POSTBACK)
        except JournalFull:
            if kind == POSTBACK:
                self.refused_postbacks += 1
            else:
                await self._lose()
            return False
        self.stored.add(number)
        return True

    async def _lose(self) -> None:
        declared = asyncio.get_running_loop().create_future()
        self.journal.declare_lost(partial(settle, declared))
        await declared
        self.lost += 1

    async def burst(self) -> tuple[list[bool], list[bool]]:
        """Some clicks with a few postbacks among them, in one group."""
        ends = await asyncio.gather(*(self.postback() if n % 7 == 3 else self.click() for n in range(20)))
        return [end for n, end in enumerate(ends) if n % 7 != 3], [end for n, end in enumerate(ends) if n % 7 == 3]

    def check(self) -> None:
        """The stream holds what was answered as stored and nothing else, and declares the rest."""
        with StreamReader(self.journal.path) as reader:
            records, gaps, finished = read_on(reader)
        assert finished
        assert gaps == []
        assert [seq for seq, _, _ in records] == list(range(1, len(records) + 1))
        numbers = [int(payload.rstrip(b"\0")) for _, _, payload in records]
        assert len(numbers) == len(set(numbers))
        assert set(numbers) == self.stored, (len(numbers), len(self.stored))
        assert all((kind == POSTBACK) == (len(payload) < CLICK_BYTES) for _, kind, payload in records)
        assert read_losses(self.journal.path) == self.journal.declared_losses == self.lost


def fill(folder: Path) -> Callable[[], None]:
    """Takes every byte that is left; gives how to let it go."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        until_no_space(lambda: file.write(bytes(4096)))
    return filler.unlink


def fill_inodes(folder: Path) -> Callable[[], None]:
    """Takes every inode that is left; gives how to let them go."""
    numbers = count()
    until_no_space(lambda: (folder / f"taken{next(numbers)}").touch())

    def free() -> None:
        for path in folder.glob("taken*"):
            path.unlink()

    return free


def until_no_space(take_more: Callable[[], object]) -> None:
    while True:
        try:
            take_more()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return


async def until(what: Callable[[], bool]) -> None:
    for _ in range(1000):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


async def run_full(books: Books, occupy: Callable[[], Callable[[], None]]) -> None:
    """A disk without a byte: the burst that meets it, what is answered while it lasts, and afterwards."""
    await books.burst()
    assert len(books.stored) == 20
    let_go = occupy()
    while not books.journal.is_full:
        clicks, postbacks = await books.burst()
        assert all(postbacks)
        assert all(clicks) or books.journal.is_full
    assert books.journal.full_because == "the disk has no space left"
    assert not any(clicks), "the group that met the end of the disk was taken back as a whole"
    assert books.lost == len(clicks)

    clicks, postbacks = await books.burst()
    assert (any(clicks), all(postbacks)) == (False, True)
    before = len(books.stored)
    while not books.refused_postbacks:
        await asyncio.gather(*(books.postback() for _ in range(10)))
    assert 300 < len(books.stored) - before < 600
    assert await books.click() is False

    let_go()
    await until(lambda: not books.journal.is_full)
    for _ in range(5):
        clicks, postbacks = await books.burst()
        assert all(clicks)
        assert all(postbacks)


async def the_disk_is_taken_by_others(folder: Path, durability: str) -> None:
    books = open_books(folder, durability)
    await run_full(books, lambda: fill(folder))
    await books.journal.close()
    books.check()


async def a_rotation_finds_no_inode(folder: Path, durability: str) -> None:
    books = open_books(folder, durability, segment_bytes=1 << 20)
    await run_full(books, lambda: fill_inodes(folder))
    await books.journal.close()
    books.check()
    assert len(list(books.journal.path.glob("*.seg"))) > 2
    assert list(books.journal.path.glob(".*")) == []


async def closing_on_a_full_disk(folder: Path, durability: str) -> None:
    books = open_books(folder, durability)
    await books.burst()
    fill(folder)
    ordinary = [books.journal.append(CLICK, b"%d" % n + bytes(CLICK_BYTES)) for n in range(1000, 1400)]
    reserved = [books.journal.append(POSTBACK, b"%d" % n, reserved=True) for n in range(2000, 2010)]
    await books.journal.close()
    ends = await asyncio.gather(*ordinary, return_exceptions=True)
    assert {type(end) for end in ends} == {JournalFull}, "400 clicks of 20,000 bytes do not fit what was reserved"
    await asyncio.gather(*reserved)
    books.stored |= set(range(2000, 2010))
    with StreamReader(books.journal.path) as reader:
        records, gaps, finished = read_on(reader)
    assert (gaps, finished) == ([], True)
    assert {int(payload.rstrip(b"\0")) for _, _, payload in records} == books.stored
    assert [seq for seq, _, _ in records] == list(range(1, 31))


async def opening_on_a_full_disk(folder: Path, durability: str) -> None:
    (folder / "journal").mkdir()
    let_go = fill(folder)
    # A few pages are left: for the loss page and a header, not for what is reserved ahead.
    os.truncate(folder / "filler", (folder / "filler").stat().st_size - 65_536)
    books = open_books(folder, durability)
    assert not await books.click()
    assert not await books.click()
    assert read_losses(books.journal.path) == books.lost == 2
    let_go()
    await until(lambda: not books.journal.is_full)
    assert await books.click()
    await books.journal.close()
    with StreamReader(books.journal.path) as reader:
        records, gaps, finished = read_on(reader)
    assert (len(records), gaps, finished) == (1, [], True)


def open_books(folder: Path, durability: str, segment_bytes: int = 64 << 20) -> Books:
    return Books(
        JournalWriter.open(
            folder / "journal",
            "fsync" if durability == "fsync" else "os",
            limits=JournalLimits(1 << 40, 0),
            segment_bytes=segment_bytes,
            on_failure=no_failure,
        )
    )


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        the_disk_is_taken_by_others,
        a_rotation_finds_no_inode,
        opening_on_a_full_disk,
        closing_on_a_full_disk,
    )
}

if __name__ == "__main__":
    # The disk itself shall be met, not the limit that a look at it finds meanwhile.
    writer_module.CHECK_SECONDS = 3.0
    _, folder, scenario, durability = sys.argv
    os.chdir("/")
    asyncio.run(SCENARIOS[scenario](Path(folder), durability))
