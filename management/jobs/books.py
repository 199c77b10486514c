"""The sweep `books`: counts the rows of each stream and compares them with what was booked.

What was counted is kept by unit (a day of clicks, the postbacks, the strangers), so a run reads only units whose
counters in the server moved, and some of those that were not read for longest: a row that vanished where no counter
saw it is found once its unit's turn comes. `full` reads every unit. One snapshot covers the counts and the columns,
so what is being stored meanwhile is in both or in neither.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog

from management.db.pool import SoleConnection, connect
from management.db.queries import Queries
from management.ingest.writer import INTERRUPTIONS
from management.system.alarms import in_trouble
from management.system.books import sentences

queries = Queries("management.jobs", "books.sql")
UNITS_IN_TURN: Final = 3
"""Read although nothing points at a change: with one run an hour, a year of days in five."""
_COUNT_SECONDS: Final = 1800.0
"""For one unit: a day of a hundred million clicks on a slow disk."""

FIRST_SECONDS: Final = 60.0
EVERY_SECONDS: Final = 3600.0

log = structlog.get_logger()


class Checked(NamedTuple):
    """`balanced` means that rows and columns agree; `units` that were read; `alarms` in sentences."""

    balanced: bool
    units: int
    alarms: list[str]


async def keep_books(url: str, stop: asyncio.Event) -> None:
    """Check every hour until `stop`, on a connection of its own: a count may take minutes. A check that fails is
    made at the next turn."""
    pause = FIRST_SECONDS
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            await _check_on(url)
        pause = EVERY_SECONDS


async def check_once(url: str, *, full: bool) -> tuple[int, list[str]]:
    """For the command line: exit status and lines. 0: the books balance; 1: they do not; 3: nobody could look."""
    checked = await _check_on(url, full=full)
    if checked is None:
        return 3, ["the books were not checked: Postgres does not answer, or another process is at it"]
    verdict = "the books balance" if checked.balanced else "the books do not balance"
    return (0 if checked.balanced else 1), [f"{verdict} ({checked.units} tables and days counted)", *checked.alarms]


async def _check_on(url: str, *, full: bool = False) -> Checked | None:
    try:
        connection = await connect(url, application="milepost jobs books")
        try:
            return await check_books(connection, full=full)
        finally:
            connection.terminate()
    except INTERRUPTIONS as error:
        log.error("books_not_checked", error=str(error) or type(error).__name__)
        return None


async def check_books(connection: SoleConnection, *, full: bool = False) -> Checked | None:
    """Count, compare and note it; an alarm is an error in the log. None: another process is at it.

    `connection` is in no transaction and has nothing else to do meanwhile.
    """
    if not await connection.fetchval(queries["lock_books"]):
        return None
    try:
        # Before the snapshot begins: what changes after this look is counted the next time.
        units = [dict(row) for row in await connection.fetch(queries["units"])]
        async with connection.transaction(isolation="repeatable_read"):
            counted = await _count(connection, units, full=full)
            rows = [dict(row) for row in await connection.fetch(queries["compare"])]
            # The server's counters lag: a late click's day may have been left out. So nobody is missed on their word.
            if not full and any(_missing(row) != row["known_missing"] for row in rows):
                counted += await _count(connection, units, full=True)
                rows = [dict(row) for row in await connection.fetch(queries["compare"])]
            await _note(connection, rows)
        lines = await in_trouble(connection)
    finally:
        await connection.execute(queries["unlock_books"])
    checked = Checked(not any(_is_off(line) for line in lines), counted, sentences(lines))
    if not checked.balanced:
        log.error("books_do_not_balance", alarms=checked.alarms)
    elif checked.alarms:
        log.error("books_have_alarms", alarms=checked.alarms)
    return checked


async def _count(connection: SoleConnection, units: Sequence[Mapping[str, Any]], *, full: bool) -> int:
    await connection.execute(queries["forget_units"], [unit["unit"] for unit in units])
    still = [unit for unit in units if unit["changes"] == unit["counted_changes"]]
    moved = [unit for unit in units if unit["changes"] != unit["counted_changes"]]
    wanted = units if full else moved + still[:UNITS_IN_TURN]
    for unit in wanted:
        await connection.execute(queries["begin_unit"], unit["unit"], unit["changes"])
        statement, day = (f"count_{unit['unit']}", ()) if unit["day"] is None else ("count_clicks", (unit["day"],))
        await connection.execute(queries[statement], unit["unit"], *day, timeout=_COUNT_SECONDS)
    return len(wanted)


def _missing(row: Mapping[str, Any]) -> int:
    missing: int = row["rows_booked"] + row["opening_rows"] - row["rows_found"]
    return missing


async def _note(connection: SoleConnection, rows: Iterable[Mapping[str, Any]]) -> None:
    notes = [
        (
            row["stream"],
            row["rows_found"],
            row["opening_rows"],
            _missing(row),
            row["missing_letters"],
            row["missing_lost"],
        )
        for row in rows
    ]
    if notes:
        await connection.execute(queries["note_checks"], *zip(*notes, strict=True))


def _is_off(line: Mapping[str, Any]) -> bool:
    return any(line[column] for column in ("difference", "missing_rows", "missing_letters", "missing_lost"))
