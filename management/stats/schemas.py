"""Queries and answers of figures."""

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, Field

from management.api.envelope import figure
from management.api.fields import Day, Query
from management.stats.figures import Figures


class StatsQuery(Query):
    """Inclusive days of the account's zone; without them the last 30 days."""

    first: Day | None = Field(None, alias="from")
    last: Day | None = Field(None, alias="to")
    time_basis: Literal["postback", "click"] = Field(
        "postback", description="Whether a conversion counts on its own day or on its click's"
    )


class StatsAnswer(BaseModel):
    """The figures of a period; a quotient is null where its denominator is 0."""

    clicks: int = Field(examples=[15000])
    unique_clicks: int = Field(examples=[12500])
    real_clicks: int = Field(examples=[10000])
    bot_clicks: int = Field(examples=[3000])
    vpn_clicks: int = Field(examples=[2000])
    conversions: int = Field(examples=[450])
    revenue: float = Field(examples=[20250.0])
    cost: float = Field(examples=[7500.0])
    profit: float = Field(examples=[12750.0], description="revenue - cost")
    roi: float | None = Field(examples=[170.0], description="profit / cost * 100")
    cr: float | None = Field(examples=[4.5], description="conversions / real_clicks * 100")
    epc: float | None = Field(examples=[1.35], description="revenue / clicks")
    pending_conversions: int
    pending_revenue: float
    rejected_conversions: int
    rejected_revenue: float
    unique_real_clicks: int
    unique_bot_clicks: int
    unique_vpn_clicks: int
    real_conversions: int
    real_revenue: float
    real_cost: float
    cr_all: float | None = Field(description="conversions / clicks * 100")
    cr_unique: float | None = Field(description="conversions / unique_clicks * 100")
    epc_real: float | None = Field(description="revenue / real_clicks")
    epc_unique: float | None = Field(description="revenue / unique_clicks")


class PeriodMeta(BaseModel):
    """The period that the figures cover."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    time_zone: str


def shown(figures: Figures) -> dict[str, Any]:
    """Whole numbers as they are, everything else as a JSON number of 2 to 4 decimals."""
    return {name: value if isinstance(value, int) else figure(value) for name, value in figures.as_fields().items()}
