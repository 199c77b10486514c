"""What edges are told of a campaign or account: the row in Postgres as the routing table's row."""

from decimal import Decimal
from typing import Any, Protocol

from management.campaigns.traffic_sources import TRAFFIC_SOURCES
from shared.campaigns import MAX_CLICK_COST, AccountRow, CampaignRow
from shared.money import click_cost


class Row(Protocol):
    """A row of Postgres by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


def campaign_row(row: Row) -> CampaignRow:
    """From a row of `campaigns` with all its columns."""
    source = TRAFFIC_SOURCES.get(row["traffic_source_id"])
    return CampaignRow(
        id=row["id"],
        uuid=row["uuid"],
        account_id=row["account_id"],
        version=row["routing_version"],
        name=row["name"],
        status="deleted" if row["deleted_at"] is not None else row["status"],
        destination_url=row["destination_url"],
        fallback_url=row["fallback_url"],
        bot_action=row["bot_action"],
        cost_model=row["cost_model"],
        cost_value=_text(row["cost_value"]),
        click_cost=click_cost(row["cost_model"], row["cost_value"]),
        cost_param=source.cost_param if source else None,
        click_id_param=source.click_id_param if source else None,
        sub_params=dict(source.sub_params) if source else {},
        attribution_window_hours=row["attribution_window_hours"],
        default_payout=_text(row["default_payout"]),
        max_payout=_text(row["max_payout"]),
        duplicate_mode=row["duplicate_mode"],
        postback_security=row["postback_security"],
        postback_tokens=tuple(row["postback_tokens"]),
        allowed_ips=tuple(row["allowed_ips"]),
        max_click_cost=_text(row["max_click_cost"]) or MAX_CLICK_COST,
    )


def account_row(row: Row) -> AccountRow:
    """From a row of `accounts`."""
    return AccountRow(
        id=row["id"],
        version=row["routing_version"],
        status=row["status"],
        fallback_url=row["fallback_url"],
        currency=row["currency"],
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"
