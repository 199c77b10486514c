"""Telling the edges of a change that is already saved, and whether they have it (api.md section 7: ≤ 1 s)."""

import structlog

from management.publisher import Redis, RoutingUnavailable, publish_account, publish_campaign, wait_propagated
from shared.campaigns import AccountRow, CampaignRow

log = structlog.get_logger()


async def tell_campaign(redis: Redis, row: CampaignRow) -> bool:
    """Publish at once; True when every live edge has it within a second. Redis away: False, the publisher repeats."""
    try:
        await publish_campaign(redis, row)
    except RoutingUnavailable as error:
        log.warning("campaign_not_propagated", campaign=row.id, version=row.version, error=str(error))
        return False
    return await wait_propagated(redis, row.version)


async def tell_account(redis: Redis, row: AccountRow) -> bool:
    """As `tell_campaign`, for an account."""
    try:
        await publish_account(redis, row)
    except RoutingUnavailable as error:
        log.warning("account_not_propagated", account=row.id, version=row.version, error=str(error))
        return False
    return await wait_propagated(redis, row.version)
