"""What keeps processes going, with not a byte left on the disk of the data directory: a part that dies is started
again all the same, and logs give way.

Leaves to others: what the parts themselves do then (tests/unit/journal/test_full_disk.py, tests/faults)."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from management.embedded.keeper import keep
from management.embedded.leftovers import find
from management.embedded.logs import bound_logs, log_file
from management.embedded.parts import Part, PartProcess
from shared.data_dir import DataDir
from tests.small_disk import SmallDisk

SECONDS = 20.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", size=4 << 20) as disk:
        yield disk


async def until_another_runs(data_dir: DataDir, pid: int) -> int:
    async with asyncio.timeout(SECONDS):
        while not (others := [found.pid for found in find(data_dir) if found.pid != pid]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    (other,) = others
    return other


async def test_a_part_that_dies_on_a_full_disk_is_started_again(disk: SmallDisk) -> None:
    data_dir = DataDir.at(disk.path)
    part = PartProcess(Part("ingest", ("/bin/sleep", "60"), 1, 5.0), data_dir, {"PATH": os.environ["PATH"]})
    said: list[str] = []
    await part.start()
    keeping = asyncio.create_task(keep(part, said.append, said.append))
    try:
        pid = await until_another_runs(data_dir, 0)
        # Under another name too, so that the end of its process gives no room back.
        os.link(data_dir.pid_file("ingest"), disk.path / "kept")
        disk.fill()
        for _ in range(3):
            os.kill(pid, signal.SIGKILL)
            pid = await until_another_runs(data_dir, pid)
            assert not keeping.done()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await part.stop()


async def test_a_log_that_is_too_large_gives_way_where_no_copy_has_room(disk: SmallDisk) -> None:
    data_dir = DataDir.at(disk.path)
    data_dir.logs.mkdir()
    log = log_file(data_dir, "ingest")
    log.write_bytes(b"line\n" * 100_000)
    disk.fill()
    bound_logs(data_dir, limit=1000)
    assert log.stat().st_size == 0
    assert [path.name for path in data_dir.logs.iterdir()] == ["ingest.log"]
