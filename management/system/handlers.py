"""The books, for the account that the installation belongs to."""

from fastapi import Response

from management.api.auth import ADMINS
from management.api.call import OpenCall
from management.api.moments import moment
from management.api.pages import Position
from management.errors import AUTHORIZATION, Refusal
from management.system import repository
from management.system.alarms import shown_in_trouble
from management.system.books import sentences
from management.system.schemas import BooksQuery, shown, shown_totals

_LIST = "books"


async def reconciliation(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        # Streams carry the records of every account, so their figures are for the installation's own alone.
        if tenant.caller.role not in ADMINS or not await repository.is_installation(
            tenant.connection, tenant.account.id
        ):
            raise Refusal(AUTHORIZATION, "Only the account that owns this installation sees its books")
        query = call.query(BooksQuery)
        cursors = call.services.cursors
        after = cursors.read(tenant.account.id, _LIST, query.cursor) if query.cursor is not None else None
        totals = await repository.totals(tenant.connection)
        discards = await repository.discards(tenant.connection)
        alarms = sentences(await shown_in_trouble(tenant.connection))
        lines = await repository.page(tenant.connection, after, query.limit + 1)
    more, lines = len(lines) > query.limit, lines[: query.limit]
    position = Position(lines[-1]["begun_at"], lines[-1]["stream"]) if more else None
    books = {
        "balanced": totals["unbalanced"] == 0,
        "as_of": moment(totals["as_of"]),
        "totals": shown_totals(totals, discards),
        "alarms": alarms,
        "streams": [shown(line) for line in lines],
    }
    cursor = cursors.write(tenant.account.id, _LIST, position) if position else None
    return call.answer(books, meta={"total": totals["streams"], "next_cursor": cursor})
