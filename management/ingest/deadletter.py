"""One bad record must not stop the line: a refused batch is halved until that record stands alone. Many must.

Only what Postgres says about the values gets here (`BatchRefused`), and what decode refused already. A lost
connection, lease or lock says nothing about a record and is never a reason to bury one. `poison` says how many may be
buried; whatever goes beyond it is not stored, and neither is anything behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from management.db.queries import Queries
from management.ingest import poison
from management.ingest.batch import Batch, DeadLetter, batch_of, dead_letter, halve
from management.ingest.writer import DENIAL, BatchRefused, Stored, Writer

queries = Queries("management.ingest", "deadletter.sql")

_ADVICE: Final = (
    "Nothing is lost, this record and those behind it wait where they are. Look with `milepost deadletters list`; mend"
    " the cause or upgrade, then `milepost deadletters redrive --all`; or let ingest bury more with `milepost"
    " deadletters accept`"
)


class DeadLetterFailed(Exception):
    """A record can be neither stored nor buried, so nothing behind it may be stored: ingest stops."""


class TooManyDeadLetters(DeadLetterFailed):
    """The limit of `poison` is reached. The text names the record, its reason and what to do."""


async def store(writer: Writer, batch: Batch) -> Stored:
    """Store the batch, with a dead letter in place of each record that cannot be stored.

    Gives what was new. Raises as `Writer.store` does, but DeadLetterFailed in place of BatchRefused, and
    TooManyDeadLetters. What was stored before an exception stays stored, with the positions that say so.
    """
    if batch.dead:
        await _number(writer, batch)
    try:
        return await writer.store(batch)
    except BatchRefused as refusal:
        halves = halve(batch.reads)
        if halves is None:
            return await _bury(writer, batch, refusal)
    except DENIAL as denial:
        if not batch.dead:
            raise
        letter = batch.dead[0]
        raise DeadLetterFailed(f"stream {letter.stream.hex()}, seq {letter.seq}: {denial}") from denial
    first, second = [await store(writer, batch_of(reads)) for reads in halves]
    return Stored(*map(sum, zip(first, second, strict=True)))


async def keep_unreadable(writer: Writer, letters: Sequence[DeadLetter]) -> None:
    """Keep what came but cannot be attributed to a stream's seq. Raises DeadLetterFailed, or one of INTERRUPTIONS."""
    try:
        await writer.store_unreadable(letters)
    except (BatchRefused, DENIAL) as refusal:
        raise DeadLetterFailed(f"{letters[0].reason}: {refusal}") from refusal


async def _number(writer: Writer, batch: Batch) -> None:
    """Number the batch's letters; raises TooManyDeadLetters, what stands before the one too many being stored."""
    standing = await _standing(writer, {letter.stream: batch.moves[letter.stream].expected for letter in batch.dead})
    letters, beyond, rule = poison.judge(standing, batch)
    if beyond is None:
        batch.dead = letters
        return
    head = poison.before(batch.reads, beyond)
    if head:
        await store(writer, batch_of(head))
    place = f"stream {beyond.stream.hex()}, seq {beyond.seq}"
    # What Postgres adds below the first line of a reason quotes the row.
    raise TooManyDeadLetters(f"{rule}: ingest stopped before {place}: {beyond.reason.partition(chr(10))[0]}. {_ADVICE}")


async def _standing(writer: Writer, places: Mapping[bytes, int]) -> poison.Standing:
    """What the limit counts from; `places`: stream → its position, before what is judged."""
    async with writer.turn() as connection:
        row = await connection.fetchrow(queries["dead_letter_standing"], poison.WINDOW_RECORDS, poison.MOST_DEAD)
        runs = await connection.fetch(
            queries["dead_letter_runs"], list(places), list(places.values()), poison.MOST_DEAD
        )
    assert row is not None
    return poison.Standing(
        row["records"], row["numbers"][::-1], {run["stream"]: run["letters"] for run in runs}, row["allowed"]
    )


async def _bury(writer: Writer, batch: Batch, refusal: BatchRefused) -> Stored:
    read = batch.reads[0]
    if batch.dead or batch.lost:
        raise DeadLetterFailed(f"stream {read.stream.hex()}, seq {read.begins}: {refusal}") from refusal
    letter = dead_letter(read.stream, read.records[-1], str(refusal))
    burial = Batch(reads=batch.reads, dead=[letter], moves=batch.moves)
    await _number(writer, burial)
    try:
        return await writer.store(burial)
    except (BatchRefused, DENIAL) as second_refusal:
        raise DeadLetterFailed(f"stream {read.stream.hex()}, seq {letter.seq}: {second_refusal}") from second_refusal
