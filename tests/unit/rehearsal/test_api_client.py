"""Covers what the client makes of answers, given by a server on a real socket that answers as api.md says. Leaves the
real API to the end-to-end tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest
from aiohttp import web

from management.rehearsal.api_client import ApiRefused, ApiUnreachable, Campaign, NewCampaign, Period, open_api
from management.rehearsal.figures import Figures

PERIOD = Period.around(datetime(2024, 3, 1, 23, 30, tzinfo=UTC))
STATS = (
    b'{"success":true,"data":{"clicks":15000,"unique_clicks":12500,"real_clicks":10000,"bot_clicks":3000,'
    b'"vpn_clicks":2000,"conversions":450,"revenue":20250.10,"cost":7500.00,"profit":12750.10,"roi":170.0013,'
    b'"cr":4.50,"epc":null,"pending_conversions":3,"pending_revenue":1.00}}'
)

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Seen:
    """The last request: method, path with query, headers in lower case, body."""

    def __init__(self) -> None:
        self.line = ""
        self.headers: dict[str, str] = {}
        self.body = b""


@asynccontextmanager
async def api(body: bytes, status: int = 200) -> AsyncIterator[tuple[str, Seen]]:
    seen = Seen()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.line = f"{request.method} {request.path_qs}"
        seen.headers = {name.lower(): value for name, value in request.headers.items()}
        seen.body = await request.read()
        return web.Response(body=body, status=status, content_type="application/json")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}", seen
    finally:
        await runner.cleanup()


async def test_figures_are_exact_and_null_is_none() -> None:
    async with api(STATS) as (url, seen), open_api(url) as client:
        found = await client.campaign_figures(7, PERIOD)
    assert found == Figures(
        15000, 12500, 10000, 3000, 2000, 450,
        Decimal("20250.10"), Decimal(7500), Decimal("12750.10"), Decimal("170.0013"), Decimal("4.5"), None, 3, Decimal(1),
    )  # fmt: skip
    assert seen.line == "GET /api/v1/campaigns/7/stats?from=2024-02-01&to=2024-03-02"


async def test_a_login_makes_the_calls_after_it_bearers_of_its_token() -> None:
    async with api(b'{"success":true,"token":"abc","expires_in":86400}') as (url, seen), open_api(url) as client:
        await client.log_in("a@b.example", "secret")
        assert seen.line == "POST /api/v1/auth/token"
        assert orjson.loads(seen.body) == {"email": "a@b.example", "password": "secret"}
        assert "authorization" not in seen.headers
        with pytest.raises(ApiUnreachable):
            await client.account_figures(PERIOD)
        assert seen.headers["authorization"] == "Bearer abc"


async def test_a_new_campaign_sends_amounts_as_they_are_written() -> None:
    answer = b'{"success":true,"data":{"id":3,"uuid":"u","name":"N","status":"active","tracking_url":"http://h/c/u"}}'
    async with api(answer, 201) as (url, seen), open_api(url) as client:
        made = await client.create_campaign(NewCampaign("N", "cpm", "2.753100", "https://x.example/", "0.10"))
    assert made == Campaign(3, "N", "active", "http://h/c/u")
    assert b'"cost_value":2.753100' in seen.body
    assert b'"default_payout":0.10' in seen.body


async def test_a_list_gives_its_rows_and_total() -> None:
    answer = b'{"success":true,"data":[{"id":"clk_1"}],"meta":{"page":1,"per_page":100,"total":41}}'
    async with api(answer) as (url, seen), open_api(url) as client:
        page = await client.clicks(7)
    assert (page.rows, page.total) == ([{"id": "clk_1"}], 41)
    assert seen.line == "GET /api/v1/clicks?campaign_id=7&page=1&per_page=100"


async def test_a_refusal_is_a_sentence_with_the_apis_own_message() -> None:
    answer = b'{"success":false,"error":{"code":"AUTHENTICATION_ERROR","message":"E-mail or password is wrong"}}'
    async with api(answer, 401) as (url, _), open_api(url) as client:
        with pytest.raises(ApiRefused) as caught:
            await client.log_in("a@b.example", "wrong")
    assert str(caught.value) == "The API refused the login: E-mail or password is wrong (401 AUTHENTICATION_ERROR)"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"success":true}', b'{"success":true,"data":{}}', b"\xff"])
async def test_something_else_on_that_port_is_said_so(body: bytes) -> None:
    async with api(body) as (url, _), open_api(url) as client:
        for call in (client.campaign(1), client.account_figures(PERIOD), client.clicks(1), client.log_in("a", "b")):
            with pytest.raises(ApiUnreachable, match=url):
                await call


async def test_an_api_that_is_away_is_one_sentence_with_what_to_do() -> None:
    async with api(b"") as (url, _):
        pass
    async with open_api(url) as client:
        with pytest.raises(ApiUnreachable) as caught:
            await client.campaign(1)
    assert str(caught.value) == f"The API does not answer at {url}; start milepost with `milepost up`"
