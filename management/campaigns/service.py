"""What campaigns decide: rules between fields, tokens that stay, "today" in a campaign's own zone."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from management.accounts.repository import Account
from management.api.auth import Tenant
from management.api.periods import midnight, today
from management.campaigns import repository
from management.campaigns.repository import WRITABLE, CampaignRecord
from management.campaigns.schemas import MASK, CampaignChange, CampaignCreate, masked
from management.db.pool import Reading, Writing
from management.errors import invalid_field, not_found
from management.stats import repository as stats


async def create(tenant: Tenant[Writing], wanted: CampaignCreate) -> CampaignRecord:
    """A new campaign with a link nobody can guess: 122 random bits."""
    values = {name: getattr(wanted, name) for name in WRITABLE}
    _check(values)
    return await repository.insert(tenant.connection, tenant.account.id, str(uuid.uuid4()), values)


async def locked(tenant: Tenant[Writing], campaign_id: int) -> CampaignRecord:
    """The campaign, held until the transaction ends. Raises Refusal (404)."""
    return _found(await repository.lock(tenant.connection, tenant.account.id, campaign_id))


async def found(tenant: Tenant[Reading], campaign_id: int) -> CampaignRecord:
    """Raises Refusal (404)."""
    return _found(await repository.get(tenant.connection, tenant.account.id, campaign_id))


async def change(tenant: Tenant[Writing], row: CampaignRecord, wanted: CampaignChange) -> CampaignRecord:
    """The fields that were sent, over those that are there. `row` is locked."""
    values = {name: row[name] for name in WRITABLE}
    sent = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    if "postback_tokens" in sent:
        sent["postback_tokens"] = _unmasked(sent["postback_tokens"], row["postback_tokens"])
    if sent.get("cost_model", "") is None:
        sent.setdefault("cost_value", None)
    _check(values | sent)
    return _found(await repository.change(tenant.connection, tenant.account.id, row["id"], values | sent))


async def delete(tenant: Tenant[Writing], campaign_id: int) -> CampaignRecord:
    """Raises Refusal (404), so also the second time."""
    # The campaign before the version, as in a change: the other order would let the two wait for each other.
    await locked(tenant, campaign_id)
    return _found(await repository.delete(tenant.connection, tenant.account.id, campaign_id))


async def counts_today(
    connection: Reading, account: Account, rows: Iterable[CampaignRecord], now: datetime
) -> dict[int, tuple[int, int]]:
    """Campaign id → (clicks of every class, approved conversions) since midnight in the campaign's own zone."""
    ranges = []
    for row in rows:
        zone = row["time_zone"] or account.time_zone
        day = today(now, zone)
        ranges.append((row["id"], midnight(day, zone), midnight(day + timedelta(days=1), zone)))
    return await stats.clicks_and_conversions(connection, account.id, ranges)


def _found(row: CampaignRecord | None) -> CampaignRecord:
    if row is None:
        raise not_found("Campaign")
    return row


def _check(values: Mapping[str, Any]) -> None:
    if values["cost_value"] is not None and values["cost_model"] is None:
        raise invalid_field("cost_model", "The cost_model field is required")
    if values["postback_security"] != "open" and not values["postback_tokens"]:
        raise invalid_field("postback_tokens", "The postback_tokens field is required")
    if any(token.startswith(MASK) for token in values["postback_tokens"]):
        raise invalid_field("postback_tokens", "The postback_tokens field holds a masked value of no stored token")


def _unmasked(sent: Iterable[str], stored: Iterable[str]) -> list[str]:
    """Each masked value as the stored token that it stands for."""
    by_mask = {masked(token): token for token in stored}
    return [by_mask.get(token, token) for token in sent]
