"""Which clicks are unique (detection.md section 1, Windows). Pure.

A unique click opens 24 hours for its visitor; the first click behind them is the next unique one. Decided by (event
time, click id), never by arrival. Link previews are never unique and open nothing; bots can be unique.

A visitor has another key each UTC day, and each click carries its day's key and that of the day before, which chains
the days. Two openings are 24 hours apart, so a visitor opens at most once a day, and whether and where depends on
nothing but the clicks of that day and the opening of the day before. So a batch is labelled day by day: a late click
moves the opening of its own day, and the days behind it only as far as openings move.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.traffic import Flag

WINDOW = timedelta(hours=24)
_PREVIEW = int(Flag.PREVIEW)

Visitor = tuple[int, bytes]
"""Account and visitor key: one visitor on one UTC day."""


class Opening(NamedTuple):
    """A unique click, ordered as clicks are."""

    ts: datetime
    click_id: bytes


class Click(NamedTuple):
    """What uniqueness needs to know of a click that has no label yet. `id` is its delta's."""

    id: int
    account_id: int
    ts: datetime
    click_id: bytes
    flags: int
    visitor_key: bytes
    visitor_key_prev: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What the new clicks of one day change in it."""

    openings: dict[Visitor, Opening | None]
    """Every visitor whose opening is another one now; None: opens no more on this day."""
    unique_ids: list[int]
    """Deltas of the new clicks that are unique."""
    relabelled: list[tuple[Visitor, Opening, bool]]
    """Clicks labelled earlier whose label is another one now, with that label."""


def day_of(ts: datetime) -> datetime:
    """The UTC midnight at which the day of `ts`, which is in UTC, begins."""
    return ts.replace(hour=0, minute=0, second=0, microsecond=0)


def label_day(
    clicks: Iterable[Click],
    standing: Mapping[Visitor, Opening],
    before: Mapping[Visitor, Opening | None],
    reopened: Mapping[Visitor, Opening | None],
) -> Change:
    """Label one day's new clicks and find whom they relabel.

    `standing`: this day's openings as labelled so far, for every visitor of `clicks` and `reopened`. `before`: openings
    of the day before as they are now, for every visitor_key_prev of `clicks`. `reopened`: visitors of this day whose
    opening of the day before has changed, each with the first click labelled earlier that this leaves outside the
    24 hours (None: there is none).
    """
    # Of a visitor's new clicks only the first can win. This loop runs once for each click: plain tuples, no attributes.
    first: dict[Visitor, tuple[datetime, bytes, int]] = {}
    for delta_id, account_id, ts, click_id, flags, visitor_key, visitor_key_prev in clicks:
        if flags & _PREVIEW:
            continue
        if before:
            opened = before.get((account_id, visitor_key_prev))
            if opened is not None and ts - opened.ts < WINDOW:
                continue
        visitor = (account_id, visitor_key)
        earliest = first.get(visitor)
        if earliest is None or ts < earliest[0] or (ts == earliest[0] and click_id < earliest[1]):
            first[visitor] = (ts, click_id, delta_id)

    change = Change({}, [], [])
    for visitor, (ts, click_id, delta_id) in first.items():
        candidate = Opening(ts, click_id)
        old = standing.get(visitor)
        kept = reopened.get(visitor) if visitor in reopened else old
        if kept is None or candidate < kept:
            change.unique_ids.append(delta_id)
            change.openings[visitor] = candidate
            if old is not None:
                change.relabelled.append((visitor, old, False))
        elif kept != old:
            _move(change, visitor, old, kept)
    for visitor, kept in reopened.items():
        if visitor not in first and kept != standing.get(visitor):
            _move(change, visitor, standing.get(visitor), kept)
    return change


def _move(change: Change, visitor: Visitor, old: Opening | None, new: Opening | None) -> None:
    change.openings[visitor] = new
    if old is not None:
        change.relabelled.append((visitor, old, False))
    if new is not None:
        change.relabelled.append((visitor, new, True))
