"""Every URL of the API on one screen; the OpenAPI document is made of the same table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Response
from pydantic import BaseModel

from management.accounts import handlers as accounts
from management.accounts.schemas import AccountAnswer, AccountChange, TokenAnswer, TokenRequest
from management.api import documents, health
from management.api.border import TOKEN_PATH
from management.api.fields import Body, Query
from management.api.pages import PageQuery
from management.campaigns import handlers as campaigns
from management.campaigns.schemas import (
    CampaignAnswer,
    CampaignChange,
    CampaignCreate,
    CampaignListQuery,
    DeletedAnswer,
)
from management.clicks import handlers as clicks
from management.clicks.schemas import ClickAnswer, ClickDetailAnswer, ClickListQuery
from management.conversions import handlers as conversions
from management.conversions.schemas import ConversionAnswer, ConversionCreate, ConversionListQuery
from management.stats import handlers as stats
from management.stats.schemas import PeriodMeta, StatsAnswer, StatsQuery
from management.system import handlers as system
from management.system.schemas import BooksAnswer, BooksMeta, BooksQuery

Handler = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One URL and method. `answer` is what stands under `data`; `bare` marks the one answer without an envelope."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[BaseModel]
    query: type[Query] | None = None
    body: type[Body] | None = None
    meta: type[BaseModel] | None = None
    statuses: tuple[int, ...] = (200,)
    also: tuple[int, ...] = ()
    bare: bool = False

    @property
    def is_list(self) -> bool:
        return self.query is not None and issubclass(self.query, PageQuery)

    @property
    def needs_token(self) -> bool:
        return not self.bare


V1: Final = "/api/v1"

ROUTES: Final = (
    Route("POST", TOKEN_PATH, accounts.issue_token, "Log in", TokenAnswer, body=TokenRequest, bare=True),
    Route("GET", f"{V1}/account", accounts.get_account, "The caller's account", AccountAnswer),
    Route("PATCH", f"{V1}/account", accounts.change_account, "Change it", AccountAnswer, body=AccountChange),
    Route("GET", f"{V1}/campaigns", campaigns.list_campaigns, "List campaigns", CampaignAnswer, CampaignListQuery),
    Route("POST", f"{V1}/campaigns", campaigns.create_campaign, "Make a campaign", CampaignAnswer,
          body=CampaignCreate, statuses=(201,)),
    Route("GET", f"{V1}/campaigns/{{id}}", campaigns.get_campaign, "One campaign", CampaignAnswer),
    Route("PUT", f"{V1}/campaigns/{{id}}", campaigns.change_campaign, "Change the fields sent", CampaignAnswer,
          body=CampaignChange),
    Route("DELETE", f"{V1}/campaigns/{{id}}", campaigns.delete_campaign, "Delete a campaign", DeletedAnswer),
    Route("GET", f"{V1}/campaigns/{{id}}/stats", stats.campaign_stats, "Figures of a campaign", StatsAnswer,
          StatsQuery, meta=PeriodMeta),
    Route("GET", f"{V1}/stats", stats.account_stats, "Figures of the account", StatsAnswer, StatsQuery,
          meta=PeriodMeta),
    Route("GET", f"{V1}/clicks", clicks.list_clicks, "List clicks, newest first", ClickAnswer, ClickListQuery),
    Route("GET", f"{V1}/clicks/{{id}}", clicks.get_click, "One click in full", ClickDetailAnswer),
    Route("GET", f"{V1}/conversions", conversions.list_conversions, "List conversions, newest first",
          ConversionAnswer, ConversionListQuery),
    Route("POST", f"{V1}/conversions", conversions.report_conversion, "Report a conversion", ConversionAnswer,
          body=ConversionCreate, statuses=(201, 200), also=(404, 409, 410)),
    Route("GET", f"{V1}/conversions/{{id}}", conversions.get_conversion, "One conversion", ConversionAnswer),
    Route("GET", f"{V1}/system/reconciliation", system.reconciliation, "What became of every record", BooksAnswer,
          BooksQuery, meta=BooksMeta),
)  # fmt: skip

PLAIN_ROUTES: Final[tuple[tuple[str, Handler, str], ...]] = (
    ("/healthz", health.alive, "The process answers"),
    ("/readyz", health.ready, "The process can serve; from loopback or with the metrics token"),
    ("/metrics", health.metrics, "Prometheus metrics; from loopback or with the metrics token"),
    ("/openapi.json", documents.openapi, "This document"),
    ("/docs", documents.page, "This document as a page"),
)
"""GET, without envelope and credential."""
