"""What campaign calls do: to the row, to the routing table in Redis, to "today".

Bad values are tests/contract/api/test_bad_input.py; foreign ids are test_isolation.py.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest

from management.publisher import open_redis
from shared.campaigns import REDIS_CAMPAIGNS, REDIS_EDGES, REDIS_VERSION, CampaignRow
from shared.ids import KeyRing
from tests.api_server import Api, caller
from tests.builders import Connection, bot_click, click, store_campaign, store_clicks

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE = {
    "name": "Summer Sale", "traffic_source_id": 30, "cost_model": "cpm", "cost_value": 1.234567, "status": "paused",
    "destination_url": "https://shop.example/{sub1}?c={clickid}#x", "fallback_url": "https://shop.example/",
    "bot_action": "block", "time_zone": "Asia/Kathmandu", "attribution_window_hours": 24, "default_payout": 45,
    "max_payout": 999999999999, "max_click_cost": 0.000001, "duplicate_mode": "add", "postback_security": "token",
    "postback_tokens": ["0123456789abcdef", "fedcba9876543210"], "allowed_ips": ["203.0.113.7/32", "2001:db8::/32"],
}  # fmt: skip


async def routing_row(redis_url: str, campaign_id: int) -> CampaignRow:
    redis = open_redis(redis_url)
    raw = await redis.hget(REDIS_CAMPAIGNS, str(campaign_id))
    await redis.aclose()
    assert raw is not None
    return CampaignRow.from_json(raw if isinstance(raw, bytes) else raw.encode())


async def test_every_field_reads_back_as_it_was_written(api: Api) -> None:
    created = await api.call("POST", "/api/v1/campaigns", WHOLE)
    assert created.status == 201
    assert {name: created.data[name] for name in WHOLE} == WHOLE
    assert created.data["has_token"] is True
    read = await api.get(f"/api/v1/campaigns/{created.data['id']}")
    assert read.data == {name: value for name, value in created.data.items() if name != "propagated"}
    assert b'"cost_value":1.234567,' in read.raw
    assert b'"max_click_cost":0.000001,' in read.raw


async def test_the_edges_are_told_what_was_saved(api: Api, redis_url: str) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", WHOLE)).data
    row = await routing_row(redis_url, campaign["id"])
    assert (row.uuid, row.account_id, row.status, row.bot_action) == (
        campaign["uuid"],
        api.account_id,
        "paused",
        "block",
    )
    assert (row.cost_model, row.cost_value, row.click_cost) == ("cpm", "1.234567", 1_234_567)
    assert (row.cost_param, row.sub_params["sub1"]) == ("cost", "zoneid")
    assert row.postback_tokens == ("0123456789abcdef", "fedcba9876543210")
    changed = await api.call("PUT", f"/api/v1/campaigns/{campaign['id']}", {"status": "active"})
    later = await routing_row(redis_url, campaign["id"])
    assert (changed.data["propagated"], later.status, later.version > row.version) == (True, "active", True)
    await api.call("DELETE", f"/api/v1/campaigns/{campaign['id']}")
    assert (await routing_row(redis_url, campaign["id"])).status == "deleted"


async def test_an_edge_that_lags_makes_the_answer_say_so_within_a_second(api: Api, redis_url: str) -> None:
    redis = open_redis(redis_url)
    report = {"version": 1, "at": time.time_ns() // 1_000_000 + 60_000}
    await redis.hset(REDIS_EDGES, "a slow edge", orjson.dumps(report).decode())
    async with asyncio.timeout(5):
        answer = await api.call("POST", "/api/v1/campaigns", {"name": "x"})
    await redis.hdel(REDIS_EDGES, "a slow edge")
    await redis.aclose()
    assert (answer.status, answer.data["propagated"]) == (201, False)


async def test_put_changes_only_the_fields_sent(api: Api) -> None:
    before = (await api.call("POST", "/api/v1/campaigns", WHOLE)).data
    after = (await api.call("PUT", f"/api/v1/campaigns/{before['id']}", {"cost_value": 2, "time_zone": None})).data
    assert (after.pop("cost_value"), after.pop("time_zone")) == (2, None)
    for name in ("cost_value", "time_zone", "updated_at"):
        before.pop(name)
        after.pop(name, None)
    assert after == before


async def test_a_whole_object_can_be_sent_back(api: Api, owner_connection: Connection) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", WHOLE)).data
    await store_clicks(owner_connection, [click(api.ids, api.account_id, campaign["id"], datetime.now(UTC))])
    answer = await api.call("PUT", f"/api/v1/campaigns/{campaign['id']}", campaign)
    assert answer.status == 200, answer.raw
    assert answer.data["clicks_today"] == 1
    for name, value in (("uuid", "other"), ("id", campaign["id"] + 1), ("clicks_today", 99), ("created_at", None)):
        refused = await api.call("PUT", f"/api/v1/campaigns/{campaign['id']}", {name: value})
        assert (refused.status, refused.error["message"]) == (400, f"The {name} field is read only")


async def test_clearing_the_cost_model_clears_its_value(api: Api) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", WHOLE)).data
    answer = await api.call("PUT", f"/api/v1/campaigns/{campaign['id']}", {"cost_model": None})
    assert (answer.data["cost_model"], answer.data["cost_value"]) == (None, None)


async def test_tokens_are_masked_for_readers_and_a_masked_one_sent_back_stays(
    api: Api, owner_connection: Connection, ring: KeyRing
) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", WHOLE)).data
    analyst = await caller(api, owner_connection, ring, role="analyst", of=api.account_id)
    path = f"/api/v1/campaigns/{campaign['id']}"
    for answer in (await analyst.get(path), await analyst.get("/api/v1/campaigns")):
        assert b"0123456789" not in answer.raw
        assert b"fedcba98" not in answer.raw
    shown = (await analyst.get(path)).data
    assert (shown["has_token"], shown["postback_tokens"]) == (True, ["********cdef", "********3210"])
    kept = await api.call("PUT", path, {"postback_tokens": ["********3210", "a new token".replace(" ", "-")]})
    assert kept.data["postback_tokens"] == ["fedcba9876543210", "a-new-token"]


async def test_deleted_is_gone_everywhere_but_from_the_figures(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    await store_clicks(owner_connection, [click(api.ids, api.account_id, campaign, datetime.now(UTC))])
    assert (await api.call("DELETE", f"/api/v1/campaigns/{campaign}")).status == 200
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/stats")):
        assert (
            await api.call(method, f"/api/v1/campaigns/{campaign}{path}", {} if method == "PUT" else None)
        ).status == 404
    assert (await api.get("/api/v1/campaigns")).data == []
    assert (await api.get("/api/v1/stats")).data["clicks"] == 1


async def test_the_status_filter_and_the_pages(api: Api, owner_connection: Connection) -> None:
    for status in ("active", "paused", "active", "inactive", "active"):
        await store_campaign(owner_connection, api.account_id, status=status)
    answer = await api.get("/api/v1/campaigns", status="active", per_page="2", page="2")
    assert (len(answer.data), answer.body["meta"]) == (1, {"page": 2, "per_page": 2, "total": 3})
    assert (await api.get("/api/v1/campaigns", page="9")).data == []


async def test_today_begins_at_midnight_of_the_campaigns_own_zone(api: Api, owner_connection: Connection) -> None:
    now = datetime.now(UTC)
    zones = {"early": "Pacific/Kiritimati", "late": "Pacific/Midway", "account": None}
    rows = []
    expected = {}
    for name, zone in zones.items():
        campaign = await store_campaign(owner_connection, api.account_id, name=name, time_zone=zone)
        midnight = datetime.combine(
            now.astimezone(ZoneInfo(zone or "UTC")).date(), datetime.min.time(), tzinfo=ZoneInfo(zone or "UTC")
        ).astimezone(UTC)
        rows += [
            click(api.ids, api.account_id, campaign, midnight),
            bot_click(api.ids, api.account_id, campaign, midnight + timedelta(milliseconds=1)),
            click(api.ids, api.account_id, campaign, midnight - timedelta(milliseconds=1)),
        ]
        expected[name] = 2
    await store_clicks(owner_connection, rows)
    listed = {campaign["name"]: campaign["clicks_today"] for campaign in (await api.get("/api/v1/campaigns")).data}
    assert listed == expected


async def test_changes_at_once_lose_no_field_and_no_version(
    api: Api, owner_connection: Connection, redis_url: str
) -> None:
    campaign = (await api.call("POST", "/api/v1/campaigns", {"name": "x"})).data["id"]
    before = await owner_connection.fetchval("SELECT version FROM routing_version")
    changes = [{"name": "y"}, {"status": "paused"}, {"default_payout": 7}, {"bot_action": "block"}]
    answers = await asyncio.gather(*(api.call("PUT", f"/api/v1/campaigns/{campaign}", change) for change in changes))
    assert {answer.status for answer in answers} == {200}
    final = (await api.get(f"/api/v1/campaigns/{campaign}")).data
    assert [final[name] for name in ("name", "status", "default_payout", "bot_action")] == ["y", "paused", 7, "block"]
    assert await owner_connection.fetchval("SELECT version FROM routing_version") == before + 4
    assert (await routing_row(redis_url, campaign)).version == before + 4


async def test_a_change_and_a_delete_at_once_do_not_wait_for_each_other(api: Api) -> None:
    for _ in range(5):
        campaign = (await api.call("POST", "/api/v1/campaigns", {"name": "x"})).data["id"]
        path = f"/api/v1/campaigns/{campaign}"
        answers = await asyncio.gather(
            api.call("PUT", path, {"name": "y"}), api.call("DELETE", path), api.call("PUT", path, {"name": "z"})
        )
        assert {answer.status for answer in answers} <= {200, 404}
        assert (await api.get(path)).status == 404


async def test_the_account_reads_back_what_was_changed(api: Api, owner_connection: Connection) -> None:
    change = {
        "company_name": "Neu & Söhne", "time_zone": "Europe/Berlin", "currency": "eur",
        "fallback_url": "https://shop.example/sorry",
    }  # fmt: skip
    answer = await api.call("PATCH", "/api/v1/account", change)
    assert answer.status == 200
    read = (await api.get("/api/v1/account")).data
    assert {name: read[name] for name in change} == {**change, "currency": "EUR"}
    assert (await api.get("/api/v1/stats")).body["meta"]["time_zone"] == "Europe/Berlin"
    assert (await api.call("PATCH", "/api/v1/account", read)).status == 200
    assert (await api.call("PATCH", "/api/v1/account", {"fallback_url": None})).data["fallback_url"] is None


async def test_an_unpublished_version_is_left_for_the_publisher(api: Api, redis_url: str, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE routing_version SET version = version + 1")
    await connection.close()
    redis = open_redis(redis_url)
    await redis.set(REDIS_VERSION, 1)
    assert (await api.call("POST", "/api/v1/campaigns", {"name": "x"})).status == 201
    assert await redis.get(REDIS_VERSION) == b"1", "a gap is never jumped over"
    await redis.aclose()
