"""Bodies, queries and answers of conversions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema

from management.api.envelope import amount
from management.api.fields import Body, CampaignId, Currency, Day, SignedAmount, text
from management.api.moments import moment
from management.api.pages import PageQuery
from shared.ids import click_id_text
from shared.postback import MAX_TEXT

Status = Literal["approved", "pending", "rejected", "refunded", "chargeback"]
ClickIdText = Annotated[
    str,
    PlainValidator(text(128, required=True)),
    WithJsonSchema({"type": "string", "examples": ["clk_AQGM8jX0oAAAAAHn2Qb3xQAAAYv9Zk1sT0aP"]}),
]
# Length and characters are judged by shared.postback, which knows the reason code.
PostbackText = Annotated[
    str, PlainValidator(text(4096)), WithJsonSchema({"type": "string", "maxLength": MAX_TEXT, "examples": ["order-1"]})
]


class ConversionCreate(Body):
    """A conversion of one click. Its key is (click, event, transaction_id); a repeat of the key is a duplicate."""

    click_id: ClickIdText
    payout: SignedAmount | None = Field(
        None, description="Default: the campaign's. Negative only with refunded or chargeback"
    )
    transaction_id: PostbackText | None = None
    status: Status = "approved"
    event: PostbackText | None = None
    currency: Currency | None = Field(None, description="ISO 4217; default: the account's")


class ConversionListQuery(PageQuery):
    first: Day | None = Field(None, alias="from")
    last: Day | None = Field(None, alias="to")
    campaign_id: CampaignId | None = None
    status: Status | None = None
    cursor: str | None = Field(None, description="`next_cursor` of the page before; instead of `page`")


class ConversionAnswer(BaseModel):
    """One conversion. `number` is null until it is folded."""

    id: str = Field(examples=["conv_7f3c0d5b9a1e4c2f8b6d0e1f2a3b4c5d"])
    click_id: str
    campaign_id: int
    payout: float = Field(examples=[45.0])
    currency: str
    transaction_id: str
    status: Status
    event: str
    created_at: datetime
    original_status: Status
    converted_at: datetime
    click_at: datetime
    origin: str
    number: int | None
    duplicate: bool = Field(False, description="In the answer to a POST alone: the key was there, nothing changed")


def conversion_text(raw: bytes) -> str:
    return f"conv_{raw.hex()}"


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": conversion_text(row["id"]),
        "click_id": click_id_text(row["click_id"]),
        "campaign_id": row["campaign_id"],
        "payout": amount(row["payout"]),
        "currency": row["currency"],
        "transaction_id": row["transaction_id"],
        "status": row["status"],
        "event": row["event"],
        "created_at": moment(row["created_at"]),
        "original_status": row["original_status"],
        "converted_at": moment(row["converted_at"]),
        "click_at": moment(row["click_at"]),
        "origin": row["origin"],
        "number": row["number"],
    }
