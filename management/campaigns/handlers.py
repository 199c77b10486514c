"""The five calls of campaigns. A change is saved, then told to the edges, then answered."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response

from management.api.auth import Tenant
from management.api.call import Call, OpenCall
from management.api.pages import Total
from management.api.propagation import tell_campaign
from management.api.read_only import without_read_only
from management.campaigns import repository, service
from management.campaigns.routing import campaign_row
from management.campaigns.schemas import (
    COUNTERS,
    READ_ONLY,
    CampaignChange,
    CampaignCreate,
    CampaignListQuery,
    shown,
)
from management.db.pool import Reading, Writing


async def list_campaigns(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        query = call.query(CampaignListQuery)
        offset = query.offset
        account = tenant.account
        total = await repository.count(tenant.connection, account.id, query.status)
        rows = await repository.page(tenant.connection, account.id, query.status, query.per_page, offset)
        shown_rows = await _shown(call, tenant, rows)
    return call.listing(shown_rows, query, Total(total))


async def create_campaign(call: OpenCall) -> Response:
    async with call.writing() as tenant:
        wanted = call.body(CampaignCreate, without_read_only(call.fields(), {}, READ_ONLY))
        row = await service.create(tenant, wanted)
        (campaign,) = await _shown(call, tenant, [row])
    campaign["propagated"] = await tell_campaign(call.services.redis, campaign_row(row))
    return call.answer(campaign, status=201)


async def get_campaign(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        row = await service.found(tenant, call.number("Campaign"))
        (campaign,) = await _shown(call, tenant, [row])
    return call.answer(campaign)


async def change_campaign(call: OpenCall) -> Response:
    async with call.writing() as tenant:
        row = await service.locked(tenant, call.number("Campaign"))
        (current,) = await _shown(call, tenant, [row])
        fields = without_read_only(call.fields(), current, READ_ONLY, falling=COUNTERS)
        row = await service.change(tenant, row, call.body(CampaignChange, fields))
        (campaign,) = await _shown(call, tenant, [row])
    campaign["propagated"] = await tell_campaign(call.services.redis, campaign_row(row))
    return call.answer(campaign)


async def delete_campaign(call: OpenCall) -> Response:
    async with call.writing() as tenant:
        row = await service.delete(tenant, call.number("Campaign"))
    propagated = await tell_campaign(call.services.redis, campaign_row(row))
    return call.answer({"id": row["id"], "deleted": True, "propagated": propagated})


async def _shown(
    call: Call, tenant: Tenant[Reading] | Tenant[Writing], rows: list[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    counts = await service.counts_today(Reading(tenant.connection), tenant.account, rows, call.now)
    return [
        shown(
            row,
            edge_url=call.services.settings.edge_url,
            clicks_today=counts[row["id"]][0],
            conversions_today=counts[row["id"]][1],
            in_full=tenant.writes,
        )
        for row in rows
    ]
