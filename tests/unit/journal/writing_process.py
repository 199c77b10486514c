"""A worker to be killed, traced or starved of disk: appends as fast as it can and tells what was acknowledged.

    python -m tests.unit.journal.writing_process ROOT fsync|os SEGMENT_BYTES WAITERS RECORDS [FILE_LIMIT]

On standard output, unbuffered: the seq of every acknowledged record as 8 bytes, only after its acknowledgement; a
record that is refused because the journal is full is declared lost, and its number among the lost is given, with the
highest bit set, once that is acknowledged. With RECORDS = 0 it never ends by itself. FILE_LIMIT is set as
RLIMIT_FSIZE once the journal is open; the exit status is then 3 if every waiter and a later append got JournalFailed
and `on_failure` was called exactly once.
"""

import asyncio
import os
import resource
import sys
from functools import partial
from pathlib import Path

from shared.journal import JournalFailed, JournalFull, JournalWriter
from shared.journal.group import settle
from tests.unit.journal.stream_builder import payload_of

FAILED_AS_PROMISED = 3
LOST = 1 << 63


def tell(number: int) -> None:
    # Not with write(2), so that this is not counted with the journal's writes.
    os.writev(1, [number.to_bytes(8, "little")])


async def write(root: Path, durability: str, segment_bytes: int, waiters: int, wanted: int, limit: int) -> int:
    failures: list[BaseException] = []
    assert durability in ("fsync", "os")
    journal = JournalWriter.open(
        root, "fsync" if durability == "fsync" else "os", segment_bytes=segment_bytes, on_failure=failures.append
    )
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    lost = 0

    async def keep_appending() -> str:
        nonlocal lost
        while not wanted or journal.next_seq <= wanted:
            seq = journal.next_seq
            try:
                await journal.append(seq % 7, payload_of(seq))
            except JournalFailed:
                return "failed"
            except JournalFull:
                lost += 1
                number = lost
                declared = asyncio.get_running_loop().create_future()
                journal.declare_lost(partial(settle, declared))
                await declared
                tell(LOST | number)
                await asyncio.sleep(0.02)
                continue
            tell(seq)
        return "done"

    ends = await asyncio.gather(*(keep_appending() for _ in range(waiters)))
    if not limit:
        await journal.close()
        return 0
    await asyncio.sleep(0)
    try:
        journal.append(0, b"{}")
    except JournalFailed:
        await journal.close()
        if set(ends) == {"failed"} and len(failures) == 1:
            return FAILED_AS_PROMISED
    return 1


if __name__ == "__main__":
    root, durability, *numbers = sys.argv[1:]
    segment_bytes, waiters, wanted, limit = map(int, [*numbers, "0"][:4])
    sys.exit(asyncio.run(write(Path(root), durability, segment_bytes, waiters, wanted, limit)))
