"""Bodies, queries and answers of campaigns."""

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from management.api.envelope import amount
from management.api.fields import Amount, Body, Name, NoSuchChoice, TimeZone, Unfit, decimal
from management.api.moments import moment
from management.api.pages import PageQuery
from management.campaigns.traffic_sources import TRAFFIC_SOURCES
from management.campaigns.urls import DestinationUrl, FallbackUrl
from shared.campaigns import MAX_CLICK_COST

Status = Literal["active", "paused", "inactive"]
MAX_COST: Final = Decimal(1_000_000)
"""Per click or conversion: a click's cost is kept in nano-units of a 64-bit number and summed."""
MASK: Final = "********"
_TOKEN = re.compile(r"[\x21-\x7e]{8,128}")
_MASKED = re.compile(re.escape(MASK) + r"[\x21-\x7e]{4}")

READ_ONLY: Final = frozenset(
    ("id", "uuid", "tracking_url", "clicks_today", "conversions_today", "has_token", "created_at", "updated_at")
)
COUNTERS: Final = frozenset(("clicks_today", "conversions_today"))


def _traffic_source(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("must be a whole number")
    if value not in TRAFFIC_SOURCES:
        raise NoSuchChoice
    return value


def _token(value: Any) -> str:
    if not isinstance(value, str) or not (_TOKEN.fullmatch(value) or _MASKED.fullmatch(value)):
        raise Unfit("must hold tokens of 8 to 128 visible ASCII characters")
    return value


def _network(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("must hold addresses or networks such as 203.0.113.0/24")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise Unfit("must hold addresses or networks such as 203.0.113.0/24") from None


TrafficSourceId = Annotated[
    int, PlainValidator(_traffic_source), WithJsonSchema({"type": "integer", "enum": sorted(TRAFFIC_SOURCES)})
]
Cost = Annotated[
    Decimal,
    PlainValidator(decimal(MAX_COST)),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": int(MAX_COST), "examples": [0.5]}),
]
Token = Annotated[
    str,
    PlainValidator(_token),
    WithJsonSchema({"type": "string", "minLength": 8, "maxLength": 128, "examples": ["s3cr3t-t0k3n"]}),
]
AllowedIp = Annotated[str, PlainValidator(_network), WithJsonSchema({"type": "string", "examples": ["203.0.113.0/24"]})]


class CampaignFields(Body):
    """What a caller may set. In a change only the fields sent count; null clears where null is allowed."""

    name: Name = ""
    traffic_source_id: TrafficSourceId | None = None
    cost_model: Literal["cpc", "cpm", "cpa", "revshare"] | None = None
    cost_value: Cost | None = None
    status: Status = "active"
    destination_url: DestinationUrl | None = None
    fallback_url: FallbackUrl | None = None
    bot_action: Literal["pass", "fallback", "block"] = "pass"
    time_zone: TimeZone | None = None
    attribution_window_hours: Annotated[int, Field(ge=1, le=8760)] = 720
    default_payout: Amount | None = None
    max_payout: Amount | None = None
    max_click_cost: Cost | None = Field(None, description=f"Largest cost= a link may carry; {MAX_CLICK_COST} if null")
    duplicate_mode: Literal["ignore", "update", "add", "new"] = "ignore"
    postback_security: Literal["open", "token", "hmac"] = "open"
    postback_tokens: Annotated[list[Token], Field(max_length=2)] = Field(
        default_factory=list, description="Up to two during a rotation; a masked value leaves the stored one"
    )
    allowed_ips: Annotated[list[AllowedIp], Field(max_length=100)] = Field(default_factory=list)


class CampaignCreate(CampaignFields):
    """A new campaign; everything but the name has a default."""

    name: Name


class CampaignChange(CampaignFields):
    """Changes of a campaign: only the fields sent."""


class CampaignListQuery(PageQuery):
    status: Status | None = None


class CampaignAnswer(BaseModel):
    """A campaign. `clicks_today` counts every class since midnight of the campaign's zone, `conversions_today` the
    approved ones."""

    id: int
    uuid: str
    name: str
    status: Status
    tracking_url: str
    clicks_today: int
    conversions_today: int
    created_at: datetime
    updated_at: datetime
    traffic_source_id: int | None
    cost_model: str | None
    cost_value: float | None
    destination_url: str | None
    fallback_url: str | None
    bot_action: str
    time_zone: str | None
    attribution_window_hours: int
    default_payout: float | None
    max_payout: float | None
    max_click_cost: float | None
    duplicate_mode: str
    postback_security: str
    has_token: bool
    postback_tokens: list[str]
    allowed_ips: list[str]
    propagated: bool = Field(False, description="In answers to a change alone: whether every live edge has it")


class DeletedAnswer(BaseModel):
    id: int
    deleted: Literal[True] = True
    propagated: bool = Field(description="Whether every live edge has it")


def masked(token: str) -> str:
    """A token as those see it who may not write (X6)."""
    return MASK + token[-4:]


def shown(
    row: Mapping[str, Any], *, edge_url: str, clicks_today: int, conversions_today: int, in_full: bool
) -> dict[str, Any]:
    """A campaign as every answer shows it; `in_full`: the caller may see tokens."""
    tokens = list(row["postback_tokens"])
    return {
        "id": row["id"],
        "uuid": row["uuid"],
        "name": row["name"],
        "status": row["status"],
        "tracking_url": f"{edge_url}/c/{row['uuid']}",
        "clicks_today": clicks_today,
        "conversions_today": conversions_today,
        "created_at": moment(row["created_at"]),
        "updated_at": moment(row["updated_at"]),
        "traffic_source_id": row["traffic_source_id"],
        "cost_model": row["cost_model"],
        "cost_value": amount(row["cost_value"]),
        "destination_url": row["destination_url"],
        "fallback_url": row["fallback_url"],
        "bot_action": row["bot_action"],
        "time_zone": row["time_zone"],
        "attribution_window_hours": row["attribution_window_hours"],
        "default_payout": amount(row["default_payout"]),
        "max_payout": amount(row["max_payout"]),
        "max_click_cost": amount(row["max_click_cost"]),
        "duplicate_mode": row["duplicate_mode"],
        "postback_security": row["postback_security"],
        "has_token": bool(tokens),
        "postback_tokens": tokens if in_full else [masked(token) for token in tokens],
        "allowed_ips": list(row["allowed_ips"]),
    }
