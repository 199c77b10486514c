"""What the books say in words: one sentence for each thing that somebody must look at. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import orjson

from management.api.moments import moment

WAITS_TOO_LONG: Final = timedelta(minutes=10)
"""Records in a journal that has not moved for so long are nobody's."""
SENTENCES: Final = 100
"""More troubled streams than this are only said to be there."""
_RANGES: Final = 5
_JSON: Final = ("discards", "lost_ranges")

Line = Mapping[str, Any]
"""One stream: a row of the view `books`, with `waits`."""


def line_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A `Line` from a row whose JSON is still text."""
    return {**row, **{name: orjson.loads(row[name]) if row[name] else None for name in _JSON}}


def sentences(lines: Iterable[Line]) -> list[str]:
    """About the troubled `lines`, at most SENTENCES of them and one that says there are more."""
    said: list[str] = []
    for number, line in enumerate(lines):
        if number == SENTENCES:
            return [*said, "There are more streams with an alarm than are named here"]
        said += (f"Stream {line['stream'].hex()}: {sentence}" for sentence in _about(line))
    return said


def _about(line: Line) -> Iterator[str]:
    if line["difference"]:
        yield (
            f"{_count(abs(line['difference']), 'record')} of {line['last_seq']} "
            + ("in no column" if line["difference"] > 0 else "booked twice")
        )
    for column, what in (
        ("missing_rows", "stored row"),
        ("missing_letters", "dead letter"),
        ("missing_lost", "record declared lost"),
    ):
        if line[column]:
            yield (
                f"{_count(abs(line[column]), what)} "
                + ("gone from the tables" if line[column] > 0 else "in the tables that nobody booked")
            )
    if line["lost"]:
        yield f"{_count(line['lost'], 'record')} can be read nowhere{_ranges(line['lost_ranges'] or [])}"
    if line["waits"]:
        yield f"{_count(line['in_journal'], 'record')} not fetched from its journal since {moment(line['updated_at'])}"


def _ranges(lost: list[Mapping[str, Any]]) -> str:
    named = [
        (f"seq {gap['first']}" if gap["first"] == gap["last"] else f"seqs {gap['first']} to {gap['last']}")
        + f" {gap['reason']}"
        for gap in lost[:_RANGES]
    ]
    more = [f"{len(lost) - _RANGES} more gaps"] if len(lost) > _RANGES else []
    return ": " + ", ".join(named + more) if named else ""


def _count(number: int, what: str) -> str:
    noun, blank, rest = what.partition(" ") if what.startswith("record ") else (what, "", "")
    return f"{number} {noun}{'' if number == 1 else 's'}{blank}{rest}"
