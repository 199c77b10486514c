"""Figures of the account and of one campaign."""

from fastapi import Response

from management.accounts.repository import Account
from management.api.auth import Tenant
from management.api.call import Call, OpenCall
from management.api.periods import Period, figures_period
from management.campaigns import service as campaigns
from management.db.pool import Reading
from management.stats import repository
from management.stats.figures import Figures
from management.stats.schemas import StatsQuery, shown

_BASIS = {"postback": 0, "click": 1}


async def account_stats(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        return await _figures(call, tenant, None)


async def campaign_stats(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        campaign = await campaigns.found(tenant, call.number("Campaign"))
        return await _figures(call, tenant, [campaign["id"]])


async def _figures(call: Call, tenant: Tenant[Reading], campaign_ids: list[int] | None) -> Response:
    query = call.query(StatsQuery)
    period = _period(call, query, tenant.account)
    sums = await repository.figures(
        tenant.connection,
        tenant.account.id,
        campaign_ids,
        period.start,
        period.end,
        basis=_BASIS[query.time_basis],
    )
    return call.answer(shown(Figures(sums)), meta=period.meta)


def _period(call: Call, query: StatsQuery, account: Account) -> Period:
    return figures_period(query.first, query.last, account.time_zone, call.now)
