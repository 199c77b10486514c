"""A worker on a journal that is full from the start, to be killed: declares losses and tells which are acknowledged.

    python -m tests.unit.journal.losing_process ROOT fsync|os WAITERS [LOSSES]

On standard output one byte for each acknowledged loss, after its acknowledgement. SIGTERM ends it in
order, as does that number of LOSSES.
"""

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

from shared.journal import JournalFailed, JournalFull, JournalLimits, JournalWriter
from shared.journal.group import settle
from tests.unit.journal.full_disk_process import until
from tests.unit.journal.stream_builder import no_failure


async def lose(root: Path, durability: str, waiters: int, losses: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    journal = JournalWriter.open(
        root, "fsync" if durability == "fsync" else "os", limits=JournalLimits(0, 0), on_failure=no_failure
    )
    await until(lambda: journal.is_full)
    try:
        journal.append(1, b"{}")
    except JournalFull:
        os.write(2, b"full\n")

    async def keep_losing() -> None:
        while not stop.is_set():
            declared = loop.create_future()
            journal.declare_lost(partial(settle, declared))
            await declared
            os.write(1, b".")
            if journal.declared_losses == losses:
                stop.set()

    await asyncio.gather(*(keep_losing() for _ in range(waiters)))
    await journal.close()
    try:
        journal.declare_lost(print)
    except JournalFailed:
        os.write(2, b"closed\n")


if __name__ == "__main__":
    asyncio.run(lose(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int([*sys.argv, "0"][4])))
