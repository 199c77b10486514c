"""A worker that journals clicks until it is killed, an answer line for each group: `ROOT DURABILITY`."""

import asyncio
import sys
from pathlib import Path

from shared.events import CLICK
from shared.journal import JournalWriter
from tests.ingest_builders import click, payload


def end(failure: BaseException) -> None:
    raise failure


async def main(root: Path, durability: str) -> None:
    journal = JournalWriter.open(root, "fsync" if durability == "fsync" else "os", on_failure=end)
    while True:
        waiting = [journal.append(CLICK, payload(click())) for _ in range(20)]
        await asyncio.gather(*waiting)
        sys.stdout.buffer.write(b"%d\n" % journal.synced_seq)
        sys.stdout.buffer.flush()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
