"""A real `milepost fold` process for the tests, with its log."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.ids import KeyRing

START_SECONDS = 20.0


class FoldProcess:
    """Output is read as it comes, so that the process never waits for its reader."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._reader = asyncio.create_task(self._read())
        self._said = asyncio.Condition()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._said:
                self.log += line.decode()
                self._said.notify_all()

    async def says(self, word: str) -> None:
        """Wait until the log names `word`."""
        async with asyncio.timeout(START_SECONDS), self._said:
            await self._said.wait_for(lambda: word in self.log)

    async def ends(self, number: signal.Signals | None = None) -> int:
        """Exit status, after sending the signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(START_SECONDS):
            status = await self.process.wait()
            await self._reader
        return status


@asynccontextmanager
async def fold_process(database_url: str, ring: KeyRing, folder: Path) -> AsyncIterator[FoldProcess]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")},
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_SECRET_KEYS": ring.to_text(),
        "MILEPOST_DATA_DIR": str(folder),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "management.cli", "fold", env=environment, stderr=asyncio.subprocess.PIPE
    )
    fold = FoldProcess(process)
    try:
        yield fold
    finally:
        if process.returncode is None:
            process.kill()
        await fold.ends()
