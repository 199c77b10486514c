"""The list of clicks, and one click with everything that is known of it."""

from datetime import UTC, datetime, timedelta

from fastapi import Response

from management.accounts.repository import Account
from management.api.call import Call, OpenCall
from management.api.pages import Position
from management.api.periods import list_period
from management.clicks import repository
from management.clicks.repository import ClickFilter
from management.clicks.schemas import ClickListQuery, shown, shown_in_full
from management.errors import invalid_field, not_found
from shared.ids import ClickId, InvalidClickId
from shared.traffic import CLOAKED, TrafficClass

_LIST = "clicks"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLASSES = {"real": int(TrafficClass.REAL), "bot": int(TrafficClass.BOT), "vpn": int(TrafficClass.VPN)}


async def list_clicks(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        query = call.query(ClickListQuery)
        offset = query.offset
        after = _position(call, query, tenant.account)
        wanted = _filter(query, tenant.account)
        total = await repository.total(tenant.connection, wanted)
        rows = await repository.page(
            tenant.connection, wanted, after=after, limit=query.per_page + 1, offset=0 if after else offset
        )
        more, rows = len(rows) > query.per_page, rows[: query.per_page]
        converted = await repository.converted(tenant.connection, tenant.account.id, [row["click_id"] for row in rows])
    position = Position(rows[-1]["ts"], rows[-1]["click_id"]) if more else None
    cursor = call.services.cursors.write(tenant.account.id, _LIST, position) if position else None
    clicks = [shown(row, converted=row["click_id"] in converted) for row in rows]
    return call.listing(clicks, query, total, next_cursor=cursor)


async def get_click(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        proven = _proven(call)
        ts = _EPOCH + timedelta(milliseconds=proven.time_ms)
        row = await repository.get(tenant.connection, tenant.account.id, proven.raw, ts)
        if row is None:
            raise not_found("Click")
        conversions = await repository.conversions_of(tenant.connection, tenant.account.id, proven.raw)
    return call.answer(shown_in_full(row, conversions))


def _filter(query: ClickListQuery, account: Account) -> ClickFilter:
    start, end = list_period(query.first, query.last, account.time_zone)
    return ClickFilter(
        account_id=account.id,
        campaign_id=query.campaign_id,
        start=start,
        end=end,
        traffic_class=_CLASSES.get(query.status) if query.status else None,
        cloaked=query.status == CLOAKED,
        country=query.country,
    )


def _position(call: Call, query: ClickListQuery, account: Account) -> Position | None:
    if query.cursor is None:
        return None
    if query.page != 1:
        raise invalid_field("page", "The page field cannot stand beside cursor")
    return call.services.cursors.read(account.id, _LIST, query.cursor)


def _proven(call: Call) -> ClickId:
    try:
        return call.services.click_ids.prove(call.text_id())
    except InvalidClickId:
        raise not_found("Click") from None
