"""Our own API, asked as any integrator would: over HTTP, with a Bearer token."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Self

import aiohttp
import orjson

from management.rehearsal.errors import RehearsalError
from management.rehearsal.figures import Figures, UnreadableFigures

_REQUEST_SECONDS: Final = 30.0
_DAYS: Final = 30


class ApiUnreachable(RehearsalError):
    """Nobody answers there, or not with what this API answers."""


class ApiRefused(RehearsalError):
    """The API answered with an error. `code` is one of its catalogue, `status` the HTTP status."""

    def __init__(self, call: str, status: int, code: str, message: str) -> None:
        super().__init__(f"The API refused {call}: {message} ({status} {code})")
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Period:
    """Inclusive days in the account's zone."""

    first: date
    last: date

    @classmethod
    def around(cls, now: datetime) -> Self:
        """The last 30 days and tomorrow: today in every time zone, also when midnight passes meanwhile."""
        today = now.astimezone(UTC).date()
        return cls(today - timedelta(days=_DAYS - 1), today + timedelta(days=1))

    @property
    def query(self) -> dict[str, str]:
        return {"from": self.first.isoformat(), "to": self.last.isoformat()}


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """What a campaign is made of here; amounts as decimal text."""

    name: str
    cost_model: str
    cost_value: str
    destination_url: str
    default_payout: str | None = None

    def to_json(self) -> bytes:
        fields: dict[str, Any] = {
            "name": self.name,
            "cost_model": self.cost_model,
            "cost_value": orjson.Fragment(self.cost_value),
            "destination_url": self.destination_url,
        }
        if self.default_payout is not None:
            fields["default_payout"] = orjson.Fragment(self.default_payout)
        return orjson.dumps(fields)


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as the API shows it, what a rehearsal needs of it."""

    id: int
    name: str
    status: str
    tracking_url: str

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        return cls(given["id"], given["name"], given["status"], given["tracking_url"])


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `total` is exact up to the API's own bound."""

    rows: list[dict[str, Any]]
    total: int


class ApiClient:
    """One login's view of the API. Every call raises ApiUnreachable or ApiRefused, each one sentence."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str) -> None:
        self._session = session
        self._api_url = api_url
        self._token = ""

    async def log_in(self, email: str, password: str) -> None:
        """Speak for this user from here on."""
        body = orjson.dumps({"email": email, "password": password})
        answer = await self._ask("the login", "POST", "/api/v1/auth/token", body=body)
        self._token = self._member(answer, "token", str)

    async def create_campaign(self, wanted: NewCampaign) -> Campaign:
        return self._campaign(await self._ask("the new campaign", "POST", "/api/v1/campaigns", body=wanted.to_json()))

    async def campaign(self, campaign_id: int) -> Campaign:
        return self._campaign(await self._ask(f"campaign {campaign_id}", "GET", f"/api/v1/campaigns/{campaign_id}"))

    async def campaign_figures(self, campaign_id: int, period: Period) -> Figures:
        path = f"/api/v1/campaigns/{campaign_id}/stats"
        return self._figures(await self._ask(f"the figures of campaign {campaign_id}", "GET", path, period.query))

    async def account_figures(self, period: Period) -> Figures:
        """Of all campaigns together."""
        return self._figures(await self._ask("the account's figures", "GET", "/api/v1/stats", period.query))

    async def clicks(self, campaign_id: int, page: int = 1, per_page: int = 100) -> Page:
        """Clicks, newest first."""
        return await self._list("/api/v1/clicks", campaign_id, page, per_page)

    async def conversions(self, campaign_id: int, page: int = 1, per_page: int = 100) -> Page:
        """Conversions, newest first."""
        return await self._list("/api/v1/conversions", campaign_id, page, per_page)

    async def _list(self, path: str, campaign_id: int, page: int, per_page: int) -> Page:
        query = {"campaign_id": str(campaign_id), "page": str(page), "per_page": str(per_page)}
        answer = await self._ask(f"the list {path}", "GET", path, query)
        meta = self._member(answer, "meta", dict)
        return Page(self._member(answer, "data", list), self._member(meta, "total", int))

    async def _ask(
        self, what: str, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method, self._api_url + path, params=query, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(
                f"The API does not answer at {self._api_url}; start milepost with `milepost up`"
            ) from error
        answer = self._decoded(raw)
        if status >= 400:
            refused = answer.get("error")
            named = refused if isinstance(refused, dict) else {}
            raise ApiRefused(what, status, str(named.get("code", "")), str(named.get("message", "no reason given")))
        return answer

    def _decoded(self, raw: bytes) -> dict[str, Any]:
        # json, not orjson: amounts must not pass through a float.
        try:
            answer = json.loads(raw, parse_float=Decimal)
        except ValueError as error:
            raise self._strange() from error
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _figures(self, answer: Mapping[str, Any]) -> Figures:
        try:
            return Figures.from_json(self._member(answer, "data", dict))
        except UnreadableFigures as error:
            raise ApiUnreachable(f"The API at {self._api_url} gave unreadable figures: {error}") from error

    def _campaign(self, answer: Mapping[str, Any]) -> Campaign:
        try:
            return Campaign.from_json(self._member(answer, "data", dict))
        except KeyError as error:
            raise self._strange() from error

    def _member(self, given: Mapping[str, Any], name: str, kind: type) -> Any:
        value = given.get(name)
        if not isinstance(value, kind):
            raise self._strange()
        return value

    def _strange(self) -> ApiUnreachable:
        return ApiUnreachable(f"What answers at {self._api_url} is not milepost's API; name it with --api")


@asynccontextmanager
async def open_api(api_url: str) -> AsyncIterator[ApiClient]:
    """A client of the API at `api_url`, not logged in yet."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield ApiClient(session, api_url)
