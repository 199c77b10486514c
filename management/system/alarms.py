"""The streams that somebody must look at: the same ones for the sweep that checks the books and for the API."""

from typing import Final

from management.db.pool import Reading, SoleConnection
from management.db.queries import Queries
from management.system.books import SENTENCES, WAITS_TOO_LONG, Line, line_of

queries = Queries("management.system", "alarms.sql")
_SHOWN: Final = "WITH books AS (SELECT * FROM installation_books)\n"
"""Before a statement: the application has no right on `books`, and a view of its own with the same columns."""


async def in_trouble(connection: SoleConnection) -> list[Line]:
    """Newest first; one more than `sentences` names. For who may read the books themselves."""
    rows = await connection.fetch(queries["books_in_trouble"], WAITS_TOO_LONG, SENTENCES + 1)
    return [line_of(dict(row)) for row in rows]


async def shown_in_trouble(connection: Reading) -> list[Line]:
    """The same for the application; none unless the transaction's account is the installation's own."""
    rows = await connection.fetch(_SHOWN + queries["books_in_trouble"], WAITS_TOO_LONG, SENTENCES + 1)
    return [line_of(dict(row)) for row in rows]
