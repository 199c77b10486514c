"""The sample calls of the HTTP contract, as printed: field names, order, types, number formats.

What the fields mean when they change is tests/integration/api; bad input is test_bad_input.py beside this.
"""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.traffic import Outcome, TrafficClass
from tests.api_server import PASSWORD, Api
from tests.builders import Connection, bot_click, click, store_campaign, store_clicks, store_rollup, vpn_click

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOON = datetime(2024, 1, 15, 10, 30, 0, 125_000, tzinfo=UTC)


async def test_login_gives_the_token_at_the_top_level(api: Api) -> None:
    answer = await api.anonymous().call("POST", "/api/v1/auth/token", {"email": api.email, "password": PASSWORD})
    assert answer.status == 200
    assert list(answer.body) == ["success", "token", "expires_in"]
    assert answer.body["success"] is True
    assert answer.body["expires_in"] == 86400


async def test_campaign_create_as_in_the_sample(api: Api) -> None:
    answer = await api.call(
        "POST",
        "/api/v1/campaigns",
        raw=b'{"name":"Summer Sale","traffic_source_id":1,"cost_model":"cpc","cost_value":0.50}',
    )
    assert answer.status == 201
    data = answer.data
    assert b'"cost_value":0.50,' in answer.raw
    assert list(data)[:8] == [
        "id", "uuid", "name", "status", "tracking_url", "clicks_today", "conversions_today", "created_at",
    ]  # fmt: skip
    assert data["tracking_url"] == f"http://localhost:8080/c/{data['uuid']}"
    assert (data["status"], data["clicks_today"], data["conversions_today"]) == ("active", 0, 0)
    assert datetime.strptime(data["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert data["propagated"] is True


async def test_campaign_list_has_meta_and_the_campaigns_by_id(api: Api, owner_connection: Connection) -> None:
    ids = [await store_campaign(owner_connection, api.account_id) for _ in range(3)]
    answer = await api.get("/api/v1/campaigns")
    assert [campaign["id"] for campaign in answer.data] == ids
    assert answer.raw.endswith(b'"meta":{"page":1,"per_page":20,"total":3}}')


async def test_stats_sample_to_the_digit(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for name, clicks, unique in (("REAL", 10_000, 8_500), ("BOT", 3_000, 2_500), ("VPN", 2_000, 1_500)):
        await store_rollup(
            owner_connection,
            api.account_id,
            campaign,
            day,
            **{"class": int(TrafficClass[name])},
            clicks=clicks,
            unique_clicks=unique,
            click_cost=clicks * 500_000_000,
            conversions=450 if name == "REAL" else 0,
            revenue=Decimal("20250") if name == "REAL" else Decimal(0),
        )
    sample = (
        b'"clicks":15000,"unique_clicks":12500,"real_clicks":10000,"bot_clicks":3000,"vpn_clicks":2000,'
        b'"conversions":450,"revenue":20250.00,"cost":7500.00,"profit":12750.00,"roi":170.00,"cr":4.50,"epc":1.35'
    )
    for path in ("/api/v1/stats", f"/api/v1/campaigns/{campaign}/stats"):
        answer = await api.get(path)
        assert answer.raw.startswith(b'{"success":true,"data":{' + sample), path
        assert answer.body["meta"]["time_zone"] == "UTC"


async def test_figures_without_a_denominator_are_null(api: Api) -> None:
    answer = await api.get("/api/v1/stats", **{"from": "2024-01-01", "to": "2024-01-31"})
    assert (answer.data["roi"], answer.data["cr"], answer.data["epc"]) == (None, None, None)
    assert b'"revenue":0.00,"cost":0.00,"profit":0.00' in answer.raw
    assert answer.raw.endswith(b'"meta":{"from":"2024-01-01","to":"2024-01-31","time_zone":"UTC"}}')


async def test_click_list_sample(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    rows = [
        click(api.ids, api.account_id, campaign, NOON),
        bot_click(api.ids, api.account_id, campaign, NOON + timedelta(seconds=1), ip="2001:db8:77::"),
        vpn_click(api.ids, api.account_id, campaign, NOON + timedelta(seconds=2), ip=""),
        bot_click(
            api.ids, api.account_id, campaign, NOON + timedelta(seconds=3), outcome=int(Outcome.BLOCKED), country="ZZ"
        ),
    ]
    await store_clicks(owner_connection, rows)
    answer = await api.get("/api/v1/clicks")
    newest_first = answer.data
    oldest = newest_first[-1]
    assert {name: oldest[name] for name in list(oldest)[1:13]} == {
        "campaign_id": campaign, "ip": "192.168.x.x", "country": "US", "city": "San Jose", "device": "desktop",
        "os": "Linux", "browser": "Firefox", "status": "real", "is_bot": False, "is_vpn": False, "converted": False,
        "created_at": "2024-01-15T10:30:00Z",
    }  # fmt: skip
    assert oldest["id"].startswith("clk_")
    assert [row["status"] for row in newest_first] == ["cloaked", "vpn", "bot", "real"]
    assert [row["is_bot"] for row in newest_first] == [True, False, True, False]
    assert newest_first[2]["ip"] == "2001:db8:x:x:x:x:x:x"
    assert newest_first[1]["ip"] is None
    assert answer.body["meta"]["total"] == 4


async def test_conversion_sample_and_its_repeat(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    click_id = api.ids.issue(campaign, time.time_ns() // 1_000_000)
    body = b'{"click_id":"%s","payout":45.00,"transaction_id":"TXN123","status":"approved"}' % click_id.encode()
    first = await api.call("POST", "/api/v1/conversions", raw=body)
    assert first.status == 201
    assert list(first.data)[:9] == [
        "id", "click_id", "campaign_id", "payout", "currency", "transaction_id", "status", "event", "created_at",
    ]  # fmt: skip
    assert b'"payout":45.00,"currency":"USD","transaction_id":"TXN123","status":"approved"' in first.raw
    assert "duplicate" not in first.data
    again = await api.call("POST", "/api/v1/conversions", raw=body)
    assert again.status == 200
    assert again.data.pop("duplicate") is True
    assert again.data["id"] == first.data["id"]
    one = await api.get(f"/api/v1/conversions/{first.data['id']}")
    assert one.data == first.data
    assert (await api.get("/api/v1/conversions")).data == [first.data]


async def test_delete_sample_and_its_repeat(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    answer = await api.call("DELETE", f"/api/v1/campaigns/{campaign}")
    assert answer.status == 200
    assert answer.data == {"id": campaign, "deleted": True, "propagated": True}
    assert (await api.call("DELETE", f"/api/v1/campaigns/{campaign}")).status == 404


async def test_error_sample(api: Api) -> None:
    answer = await api.call("POST", "/api/v1/campaigns", {})
    assert answer.status == 400
    assert answer.raw == (
        b'{"success":false,"error":{"code":"VALIDATION_ERROR","message":"The name field is required",'
        b'"details":{"name":["The name field is required"]}}}'
    )
