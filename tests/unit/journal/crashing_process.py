"""One short life of a journal and its consumer, to be killed at any of its system calls.

    python -m tests.unit.journal.crashing_process ROOT fsync|os

Says `ready` on standard error and begins when it reads a line. On standard output, after the fact: 9 bytes for each
acknowledged record (`r`, seq), each acknowledged loss (`l`, number) and, before anything of it is deleted, the seq up
to which the consumer needs nothing (`c`, seq). Ends with status 0 when nobody kills it.
"""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from shared.journal import JournalLimits, JournalWriter, Mark, delete_consumed, write_consumed
from shared.journal.group import Refusal
from shared.journal.stream import SegmentName
from tests.unit.journal.stream_builder import no_failure, payload_of


def tell(kind: bytes, number: int) -> None:
    os.writev(1, [kind + number.to_bytes(8, "little")])


async def live(root: Path, durability: str) -> None:
    journal = JournalWriter.open(
        root,
        "fsync" if durability == "fsync" else "os",
        limits=JournalLimits(1 << 40, 0),
        segment_bytes=800,
        on_failure=no_failure,
    )
    open_answers = 0
    answered = asyncio.Event()

    def done(kind: bytes, number: int, refusal: Refusal | None) -> None:
        nonlocal open_answers
        assert refusal is None
        tell(kind, number)
        open_answers -= 1
        answered.set()

    async def group(records: int, losses: int = 0) -> None:
        nonlocal open_answers
        open_answers += records + losses
        for _ in range(records):
            seq = journal.next_seq
            journal.take(seq % 7, payload_of(seq), partial(done, b"r", seq))
        for number in range(losses):
            journal.declare_lost(partial(done, b"l", journal.declared_losses + number + 1))
        while open_answers:
            answered.clear()
            await answered.wait()

    await group(2)
    await group(2, losses=2)
    first = journal.next_seq
    await group(4)  # too much for the first segment
    segments = sorted(journal.path.glob("*.seg"))
    consumed = SegmentName.parse(segments[1].name)
    assert consumed is not None
    assert consumed.first_seq == first
    tell(b"c", consumed.first_seq)
    write_consumed(journal.path, consumed.first_seq, Mark(consumed, 38))
    assert delete_consumed(journal.path, consumed.first_seq, 0.0, 1e11) > 0
    await group(0, losses=1)
    await group(1)
    await journal.close()


if __name__ == "__main__":
    os.write(2, b"ready\n")
    sys.stdin.readline()
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
