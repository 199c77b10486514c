"""Conversions: list, one, and reporting one."""

import re

from fastapi import Response

from management.api.call import Call, OpenCall
from management.api.pages import Position
from management.api.periods import list_period
from management.conversions import repository, service
from management.conversions.repository import ConversionFilter
from management.conversions.schemas import ConversionCreate, ConversionListQuery, shown
from management.errors import invalid_field, not_found

_LIST = "conversions"
_ID = re.compile(r"conv_([0-9a-f]{32})")


async def list_conversions(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        query = call.query(ConversionListQuery)
        offset = query.offset
        after = _position(call, query, tenant.account.id)
        start, end = list_period(query.first, query.last, tenant.account.time_zone)
        wanted = ConversionFilter(tenant.account.id, query.campaign_id, start, end, query.status)
        total = await repository.total(tenant.connection, wanted)
        rows = await repository.page(
            tenant.connection, wanted, after=after, limit=query.per_page + 1, offset=0 if after else offset
        )
    more, rows = len(rows) > query.per_page, rows[: query.per_page]
    position = Position(rows[-1]["converted_at"], rows[-1]["id"]) if more else None
    cursor = call.services.cursors.write(tenant.account.id, _LIST, position) if position else None
    return call.listing([shown(row) for row in rows], query, total, next_cursor=cursor)


async def get_conversion(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        match = _ID.fullmatch(call.text_id())
        found = match and await repository.get(tenant.connection, tenant.account.id, bytes.fromhex(match[1]))
    if not found:
        raise not_found("Conversion")
    return call.answer(shown(found))


async def report_conversion(call: OpenCall) -> Response:
    async with call.writing() as tenant:
        wanted = call.body(ConversionCreate)
        reported = await service.report(
            tenant, call.services.click_ids, wanted, now=call.now, source_ip=call.source_ip()
        )
    data = shown(reported.row) | ({"duplicate": True} if reported.duplicate else {})
    return call.answer(data, status=200 if reported.duplicate else 201)


def _position(call: Call, query: ConversionListQuery, account_id: int) -> Position | None:
    if query.cursor is None:
        return None
    if query.page != 1:
        raise invalid_field("page", "The page field cannot stand beside cursor")
    return call.services.cursors.read(account_id, _LIST, query.cursor)
