"""When too many records are dead for the line to go on: the arithmetic of its limit. Pure.

Two rules. Across all streams at most `MOST_DEAD` of the last `WINDOW_RECORDS` records may be dead letters; and inside
one stream at most `MOST_DEAD` may follow one another, however many good records other streams had meanwhile. Either
says that this program and what an edge writes do not belong together, which no letter mends.

What is counted lies in Postgres: each letter has its `number`, counted over every record settled so far. So a process
that starts again knows what the one before it knew, and a supervisor's restarts bury nothing more.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple

from management.ingest.batch import Batch, DeadLetter, StreamRead, cut

WINDOW_RECORDS: Final = 10_000
MOST_DEAD: Final = WINDOW_RECORDS // 100


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands in Postgres before a batch.

    `settled`: records stored, dead-lettered or discarded so far, of all streams. `numbers`: the counted letters' among
    the last `WINDOW_RECORDS` of them, ascending. `runs`: stream → how many counted letters lie right before its
    position. `allowed`: how many further letters the operator lets pass uncounted.
    """

    settled: int
    numbers: Sequence[int] = ()
    runs: Mapping[bytes, int] | None = None
    allowed: int = 0


class Judgement(NamedTuple):
    """`letters`: the batch's, numbered, up to where the limit allows. `beyond`: the first that it does not allow."""

    letters: list[DeadLetter]
    beyond: DeadLetter | None
    rule: str


def judge(standing: Standing, batch: Batch) -> Judgement:
    """Number the letters of `batch` and say which is the first beyond the limit, and by which rule."""
    window = deque(standing.numbers)
    runs = standing.runs or {}
    run_of = {stream: (move.expected - 1, runs.get(stream, 0)) for stream, move in batch.moves.items()}
    allowed = standing.allowed
    letters: list[DeadLetter] = []
    for letter, place in _places(batch):
        number = standing.settled + place + 1
        if allowed:
            allowed -= 1
            letters.append(letter._replace(number=number, accepted=True))
            continue
        while window and window[0] <= number - WINDOW_RECORDS:
            window.popleft()
        last, run = run_of[letter.stream]
        run = run + 1 if letter.seq == last + 1 else 1
        if run > MOST_DEAD:
            return Judgement(letters, letter, f"more than {MOST_DEAD} records in a row are dead letters")
        if len(window) >= MOST_DEAD:
            return Judgement(
                letters, letter, f"more than {MOST_DEAD} of the last {WINDOW_RECORDS:,} records are dead letters"
            )
        window.append(number)
        run_of[letter.stream] = letter.seq, run
        letters.append(letter._replace(number=number))
    return Judgement(letters, None, "")


def before(reads: Sequence[StreamRead], letter: DeadLetter) -> list[StreamRead]:
    """What `reads` settle ahead of the letter's record."""
    found: list[StreamRead] = []
    for read in reads:
        if read.stream == letter.stream and letter.seq < read.next_seq:
            return [*found, cut(read, letter.seq)[0]] if letter.seq > read.begins else found
        found.append(read)
    raise ValueError(f"stream {letter.stream.hex()}, seq {letter.seq} is in none of the reads")


def _places(batch: Batch) -> Iterator[tuple[DeadLetter, int]]:
    """The batch's letters, each with how many records of the batch stand before it."""
    letters = iter(batch.dead)
    letter = next(letters, None)
    settled = 0
    for read in batch.reads:
        first = bisect_left(read.records, read.begins, key=_seq_of)
        while letter is not None and letter.stream == read.stream and letter.seq < read.next_seq:
            yield letter, settled + bisect_left(read.records, letter.seq, key=_seq_of) - first
            letter = next(letters, None)
        settled += len(read.records) - first


_seq_of = itemgetter(0)
