"""Queries and answers of clicks."""

import ipaddress
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from management.api.envelope import amount
from management.api.fields import CampaignId, Day
from management.api.moments import moment
from management.api.pages import PageQuery
from management.clicks.countries import COUNTRIES, country
from shared.ids import click_id_text
from shared.money import nanos_to_decimal
from shared.traffic import CLASS_NAMES, FRAUD_NAMES, OUTCOME_NAMES, Flag, flag_names, status_name

Status = Literal["real", "bot", "vpn", "cloaked"]
Country = Annotated[
    str,
    PlainValidator(country),
    WithJsonSchema({"type": "string", "enum": sorted(COUNTRIES), "description": "UK means GB; case does not matter"}),
]
_COST_FROM = ("campaign", "link")
_FRAUD_NONE = 0


class ClickListQuery(PageQuery):
    campaign_id: CampaignId | None = None
    first: Day | None = Field(None, alias="from")
    last: Day | None = Field(None, alias="to")
    status: Status | None = None
    country: Country | None = None
    cursor: str | None = Field(None, description="`next_cursor` of the page before; instead of `page`")


class ClickAnswer(BaseModel):
    """One click of a list."""

    id: str = Field(examples=["clk_AQGM8jX0oAAAAAHn2Qb3xQAAAYv9Zk1sT0aP"])
    campaign_id: int
    ip: str | None = Field(examples=["192.168.x.x"], description="null where addresses are not stored")
    country: str = Field(description="ZZ: not known")
    city: str | None
    device: str
    os: str
    browser: str
    status: Status
    is_bot: bool
    is_vpn: bool
    converted: bool = Field(description="Has a conversion that is not rejected")
    created_at: datetime
    outcome: str


class ReasonAnswer(BaseModel):
    code: str
    points: int


class VerdictAnswer(BaseModel):
    """Why the click has its class; `is_unique` is null until it is folded."""

    traffic_class: str = Field(alias="class")
    fraud_type: str | None
    score: int
    flags: list[str]
    reasons: list[ReasonAnswer]
    rules_version: int
    is_unique: bool | None
    bot: str | None
    bot_kind: str | None


class GeoAnswer(BaseModel):
    country: str
    region: str | None
    city: str | None
    isp: str | None
    asn: int | None


class ExplainAnswer(BaseModel):
    """What the visitor was answered and what decided it, in order."""

    outcome: str
    decided_by: list[str]
    location: str | None


class ClickConversionAnswer(BaseModel):
    id: str
    event: str
    transaction_id: str
    status: str
    payout: float
    currency: str
    created_at: datetime


class ClickDetailAnswer(ClickAnswer):
    """One click with everything that is known of it."""

    reported_at: datetime
    referrer: str | None
    sub_ids: dict[str, str]
    external_id: str | None
    parameters: dict[str, str]
    platform_ids: dict[str, str]
    language: str | None
    user_agent: str | None
    os_version: str | None
    browser_version: str | None
    geo: GeoAnswer
    verdict: VerdictAnswer
    explain: ExplainAnswer
    cost: float
    cost_from: Literal["campaign", "link"]
    conversions: list[ClickConversionAnswer]
    stored_ip: str | None
    ip_precision: Literal["none", "truncated", "full"]


def masked_ip(stored: str) -> str | None:
    """`192.168.x.x`; the first two groups of an IPv6 address."""
    if not stored:
        return None
    if ":" not in stored:
        return ".".join([*stored.split(".")[:2], "x", "x"])
    groups = ipaddress.IPv6Address(stored).exploded.split(":")[:2]
    return ":".join([*(f"{int(group, 16):x}" for group in groups), *"xxxxxx"])


def ip_precision(stored: str) -> str:
    """How much of the address is there, judged by itself: the setting may have changed since."""
    if not stored:
        return "none"
    address = ipaddress.ip_address(stored)
    hidden = 8 if address.version == 4 else 80
    return "truncated" if int(address) & ((1 << hidden) - 1) == 0 else "full"


def shown(row: Mapping[str, Any], *, converted: bool) -> dict[str, Any]:
    return {
        "id": click_id_text(row["click_id"]),
        "campaign_id": row["campaign_id"],
        "ip": masked_ip(row["ip"]),
        "country": row["country"],
        "city": row["city"] or None,
        "device": row["device"],
        "os": row["os"],
        "browser": row["browser"],
        "status": status_name(row["class"], row["outcome"]),
        "is_bot": bool(row["flags"] & Flag.BOT),
        "is_vpn": bool(row["flags"] & Flag.VPN),
        "converted": converted,
        "created_at": moment(row["ts"]),
        "outcome": OUTCOME_NAMES[row["outcome"]],
    }


def shown_in_full(row: Mapping[str, Any], conversions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    details: dict[str, Any] = orjson.loads(row["details"])
    made = [
        {
            "id": f"conv_{conversion['id'].hex()}",
            "event": conversion["event"],
            "transaction_id": conversion["transaction_id"],
            "status": conversion["status"],
            "payout": amount(conversion["payout"]),
            "currency": conversion["currency"],
            "created_at": moment(conversion["converted_at"]),
        }
        for conversion in conversions
    ]
    return shown(row, converted=any(conversion["status"] != "rejected" for conversion in made)) | {
        "reported_at": moment(row["reported_at"]),
        "referrer": details.get("referrer") or None,
        "sub_ids": details.get("subs") or {},
        "external_id": details.get("external_id") or None,
        "parameters": details.get("params") or {},
        "platform_ids": details.get("platform_ids") or {},
        "language": details.get("language") or None,
        "user_agent": details.get("user_agent") or None,
        "os_version": details.get("os_version") or None,
        "browser_version": details.get("browser_version") or None,
        "geo": {
            "country": row["country"],
            "region": details.get("region") or None,
            "city": details.get("city") or None,
            "isp": details.get("isp") or None,
            "asn": row["asn"] or None,
        },
        "verdict": {
            "class": CLASS_NAMES[row["class"]],
            "fraud_type": FRAUD_NAMES[row["fraud_now"]] if row["fraud_now"] != _FRAUD_NONE else None,
            "score": row["score"],
            "flags": list(flag_names(row["flags"])),
            "reasons": [{"code": code, "points": points} for code, points in details.get("reasons") or ()],
            "rules_version": row["rules"],
            "is_unique": row["is_unique"],
            "bot": details.get("bot") or None,
            "bot_kind": details.get("bot_kind") or None,
        },
        "explain": {
            "outcome": OUTCOME_NAMES[row["outcome"]],
            "decided_by": list(details.get("link") or ()),
            "location": details.get("location") or None,
        },
        "cost": amount(nanos_to_decimal(row["cost"])),
        "cost_from": _COST_FROM[row["cost_from"]],
        "conversions": made,
        "stored_ip": row["ip"] or None,
        "ip_precision": ip_precision(row["ip"]),
    }
