"""Queries and answers of the system's own routes."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from management.api.fields import Query, whole
from management.api.moments import moment
from management.system.books import Line

MAX_STREAMS: Final = 1_000

Limit = Annotated[
    int,
    PlainValidator(whole(1, MAX_STREAMS)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_STREAMS, "default": 100}),
]


class BooksQuery(Query):
    limit: Limit = 100
    cursor: str | None = Field(None, description="`next_cursor` of the page before")


class BooksMeta(BaseModel):
    total: int = Field(description="streams in all")
    next_cursor: str | None


class LostRange(BaseModel):
    first: int
    last: int
    reason: str


class Terms(BaseModel):
    """last_seq = opening + stored + repeated + dead_lettered + discarded + lost + parked + in_journal + difference"""

    last_seq: int = Field(description="as announced by the stream's worker, or stored beyond that already")
    opening: int = Field(description="settled before there were books")
    stored: int
    repeated: int = Field(description="ids that were stored already")
    dead_lettered: int
    discarded: dict[str, int] = Field(description="by reason")
    lost: int = Field(description="to be read nowhere; the ranges say which")
    parked: int = Field(description="read beyond a gap and held back")
    in_journal: int = Field(description="announced and not stored yet")
    difference: int = Field(description="0, or the books do not balance")
    missing_rows: int | None = Field(description="stored and in no table any more; null: not counted yet")
    declared_losses: int = Field(description="clicks that were answered without a record, on a full disk")


class StreamTerms(Terms):
    stream: str
    lost_ranges: list[LostRange] = Field(description="the first 100")
    missing_letters: int | None
    missing_lost: int | None
    finished: bool
    announced_at: str | None
    checked_at: str | None = Field(description="when its rows were counted")


class Totals(Terms):
    streams: int


class BooksAnswer(BaseModel):
    """The books: what became of every record that an edge confirmed."""

    balanced: bool
    as_of: str
    totals: Totals = Field(description="of all streams")
    alarms: list[str]
    streams: list[StreamTerms]


_TERMS: Final = tuple(name for name in Terms.model_fields if name != "discarded")


def shown_totals(totals: Line, discards: dict[str, int]) -> dict[str, Any]:
    return {name: totals[name] for name in _TERMS} | {"discarded": discards, "streams": totals["streams"]}


def shown(line: Line) -> dict[str, Any]:
    terms = {name: line[name] for name in _TERMS}
    return terms | {
        "stream": line["stream"].hex(),
        "discarded": line["discards"] or {},
        "lost_ranges": line["lost_ranges"] or [],
        "missing_letters": line["missing_letters"],
        "missing_lost": line["missing_lost"],
        "finished": line["finished"],
        "announced_at": line["announced_at"] and moment(line["announced_at"]),
        "checked_at": line["checked_at"] and moment(line["checked_at"]),
    }
