"""One bad record must not stop the line: a refused batch is halved until that record stands alone.

Only what Postgres says about the values gets here (`BatchRefused`). A lost connection, lease or lock says nothing
about a record and is never a reason to bury one.
"""

from management.ingest.batch import Batch, batch_of, dead_letter, halve
from management.ingest.writer import BatchRefused, Stored, Writer


class DeadLetterFailed(Exception):
    """Even the dead letter cannot be stored, so nothing behind it may be: ingest stops."""


async def store(writer: Writer, batch: Batch) -> Stored:
    """Store the batch, with a dead letter in place of each record that Postgres refuses.

    Gives what was new. Raises as `Writer.store` does, but DeadLetterFailed in place of BatchRefused. What was stored
    before an exception stays stored, with the positions that say so.
    """
    try:
        return await writer.store(batch)
    except BatchRefused as refusal:
        halves = halve(batch.reads)
        if halves is None:
            return await _bury(writer, batch, refusal)
    first, second = [await store(writer, batch_of(reads)) for reads in halves]
    return Stored(*map(sum, zip(first, second, strict=True)))


async def _bury(writer: Writer, batch: Batch, refusal: BatchRefused) -> Stored:
    read = batch.reads[0]
    if batch.dead or batch.lost:
        raise DeadLetterFailed(f"stream {read.stream.hex()}, seq {read.begins}: {refusal}") from refusal
    letter = dead_letter(read.stream, read.records[-1], str(refusal))
    try:
        return await writer.store(Batch(reads=batch.reads, dead=[letter], moves=batch.moves))
    except BatchRefused as second_refusal:
        raise DeadLetterFailed(f"stream {read.stream.hex()}, seq {letter.seq}: {second_refusal}") from second_refusal
