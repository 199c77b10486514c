"""The click list's filters, order, cursor, totals and plan; one click in full.

The row's shape is tests/contract/api/test_samples.py; bad filters are test_bad_input.py there.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from management.clicks.repository import ClickFilter, queries
from shared.ids import click_id_text
from shared.traffic import ClickMode, Outcome
from tests.api_server import Api
from tests.builders import Connection, Row, bot_click, click, store_campaign, store_clicks, store_rollup, vpn_click

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = datetime(2024, 3, 9, 12, 0, tzinfo=UTC)


async def ids(api: Api, **params: str) -> list[str]:
    return [row["id"] for row in (await api.get("/api/v1/clicks", **params)).data]


def texts(rows: list[Row]) -> list[str]:
    return [click_id_text(row["click_id"]) for row in rows]


async def test_each_filter_and_its_total(api: Api, owner_connection: Connection) -> None:
    first = await store_campaign(owner_connection, api.account_id)
    second = await store_campaign(owner_connection, api.account_id)
    made: dict[str, Row] = {
        "real": click(api.ids, api.account_id, first, DAY, country="GB"),
        "bot": bot_click(api.ids, api.account_id, first, DAY + timedelta(days=1)),
        "vpn": vpn_click(api.ids, api.account_id, second, DAY + timedelta(days=2)),
        "hidden": bot_click(
            api.ids, api.account_id, second, DAY + timedelta(days=3), outcome=int(Outcome.FALLBACK), country="GB"
        ),
        "refused": bot_click(api.ids, api.account_id, second, DAY + timedelta(days=4), outcome=int(Outcome.BLOCKED)),
        "paused": click(api.ids, api.account_id, second, DAY + timedelta(days=5), outcome=int(Outcome.PAUSED)),
    }
    unseen = [
        click(api.ids, api.account_id, first, DAY, mode=int(ClickMode.HEAD)),
        click(api.ids, api.account_id, first, DAY, mode=int(ClickMode.PREFETCH), country="GB"),
    ]
    await store_clicks(owner_connection, [*made.values(), *unseen])
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "paused refused hidden vpn bot real"),
        ({"campaign_id": str(first)}, "bot real"),
        ({"status": "real"}, "paused real"),
        ({"status": "bot"}, "bot"),
        ({"status": "vpn"}, "vpn"),
        ({"status": "cloaked"}, "refused hidden"),
        ({"country": "GB"}, "hidden real"),
        ({"country": "uk"}, "hidden real"),
        ({"country": "gb", "status": "cloaked"}, "hidden"),
        ({"country": "DE"}, ""),
        ({"from": "2024-03-10", "to": "2024-03-11"}, "vpn bot"),
        ({"from": "2024-03-12"}, "paused refused hidden"),
        ({"to": "2024-03-09"}, "real"),
    ]
    for params, names in cases:
        answer = await api.get("/api/v1/clicks", **params)
        assert [row["id"] for row in answer.data] == texts([made[name] for name in names.split()]), params
        assert answer.body["meta"]["total"] == len(answer.data), params
        assert "total_is_lower_bound" not in answer.body["meta"]


async def test_days_are_of_the_accounts_zone(api: Api, owner_connection: Connection) -> None:
    await owner_connection.execute("UPDATE accounts SET time_zone = 'America/New_York' WHERE id = $1", api.account_id)
    campaign = await store_campaign(owner_connection, api.account_id)
    # On 2024-03-10 New York's day has 23 hours: 05:00Z to 04:00Z.
    rows = [
        click(api.ids, api.account_id, campaign, datetime(2024, 3, 10, 4, 59, 59, 999_000, tzinfo=UTC)),
        click(api.ids, api.account_id, campaign, datetime(2024, 3, 10, 5, tzinfo=UTC)),
        click(api.ids, api.account_id, campaign, datetime(2024, 3, 11, 3, 59, 59, 999_000, tzinfo=UTC)),
        click(api.ids, api.account_id, campaign, datetime(2024, 3, 11, 4, tzinfo=UTC)),
    ]
    await store_clicks(owner_connection, rows)
    params = {"from": "2024-03-10", "to": "2024-03-10"}
    assert await ids(api, **params) == texts([rows[2], rows[1]])
    assert (await api.get("/api/v1/stats", **params)).data["clicks"] == 2


async def test_pages_and_cursor_give_every_click_once_in_order(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    # Ties in time are told apart by id; the last instants of a day and the first of the next lie in two partitions.
    rows = [
        click(
            api.ids, api.account_id, campaign, datetime(2024, 5, 1, 23, 59, 59, tzinfo=UTC) + timedelta(seconds=n // 4)
        )
        for n in range(23)
    ]
    await store_clicks(owner_connection, rows)
    in_order = texts(sorted(rows, key=lambda row: (row["ts"], row["click_id"]), reverse=True))
    paged: list[str] = []
    for page in range(1, 7):
        paged += await ids(api, page=str(page), per_page="4")
    assert paged == in_order
    walked: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api.get("/api/v1/clicks", per_page="5", **cursor)
        walked += [row["id"] for row in answer.data]
        assert answer.body["meta"]["total"] == 23
        if answer.body["meta"]["next_cursor"] is None:
            break
        cursor = {"cursor": answer.body["meta"]["next_cursor"]}
    assert walked == in_order
    beside_page = await api.get("/api/v1/clicks", page="2", **cursor)
    assert list(beside_page.error["details"]) == ["page"]


async def test_a_changed_cursor_is_refused(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    await store_clicks(owner_connection, [click(api.ids, api.account_id, campaign, DAY) for _ in range(2)])
    cursor = (await api.get("/api/v1/clicks", per_page="1")).body["meta"]["next_cursor"]
    for place in range(0, len(cursor), 5):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert (await api.get("/api/v1/clicks", cursor=changed)).status == 400, place


async def test_a_total_comes_from_the_roll_ups_where_the_filter_allows(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    await store_rollup(owner_connection, api.account_id, campaign, DAY, clicks=123_456)
    await store_clicks(owner_connection, [click(api.ids, api.account_id, campaign, DAY)])
    assert (await api.get("/api/v1/clicks", status="real")).body["meta"]["total"] == 123_457
    assert (await api.get("/api/v1/clicks", country="US")).body["meta"]["total"] == 1


async def test_beyond_ten_thousand_counted_rows_the_total_is_a_lower_bound(
    api: Api, owner_connection: Connection
) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    await store_clicks(owner_connection, [click(api.ids, api.account_id, campaign, DAY)])
    copies = """
        INSERT INTO clicks
        SELECT (jsonb_populate_record(c, jsonb_build_object('click_id', '\\x' || lpad(to_hex(n), 54, '0')))).*
        FROM clicks AS c, generate_series(1, %d) AS n WHERE c.account_id = %d AND c.campaign_id = %d LIMIT %d
    """
    await owner_connection.execute(copies % (9_999, api.account_id, campaign, 9_999))
    answer = await api.get("/api/v1/clicks", country="US")
    assert answer.body["meta"]["total"] == 10_000
    assert "total_is_lower_bound" not in answer.body["meta"]
    extra = [click(api.ids, api.account_id, campaign, DAY)]
    await store_clicks(owner_connection, extra)
    meta = (await api.get("/api/v1/clicks", country="US")).body["meta"]
    assert (meta["total"], meta["total_is_lower_bound"]) == (10_000, True)


async def test_the_list_walks_days_from_the_newest_and_stops(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    start = datetime(2023, 7, 1, tzinfo=UTC)
    rows = [
        click(api.ids, api.account_id, campaign, start + timedelta(days=day, seconds=n))
        for day in range(12)
        for n in range(40)
    ]
    await store_clicks(owner_connection, rows)
    await owner_connection.execute("ANALYZE clicks")
    arguments = (*ClickFilter(account_id=api.account_id).arguments, None, None, None, 21, 0)
    lines = await owner_connection.fetch("EXPLAIN (ANALYZE, COSTS OFF) " + queries["list_clicks"], *arguments)
    plan = "\n".join(line[0] for line in lines)
    assert "Sort" not in plan, plan
    assert "Index Scan Backward" in plan, plan
    assert plan.count("never executed") >= 10, plan


async def test_one_click_in_full(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    row = click(api.ids, api.account_id, campaign, datetime.now(UTC), cost=123_456_000)
    await store_clicks(owner_connection, [row])
    click_id = click_id_text(row["click_id"])
    made = (await api.call("POST", "/api/v1/conversions", {"click_id": click_id, "payout": 2})).data
    answer = await api.get(f"/api/v1/clicks/{click_id}")
    full: dict[str, Any] = answer.data
    assert (full["id"], full["ip"], full["converted"]) == (click_id, "192.168.x.x", True)
    assert (full["stored_ip"], full["ip_precision"]) == ("192.168.7.0", "truncated")
    assert full["sub_ids"] == {"sub1": "zone-7"}
    assert full["parameters"] == {"color": "red"}
    assert full["geo"] == {
        "country": "US",
        "region": "California",
        "city": "San Jose",
        "isp": "Example ISP",
        "asn": 64496,
    }
    assert full["verdict"]["reasons"] == [{"code": "no_accept_language", "points": 40}]
    assert full["explain"]["decided_by"] == ["campaign_active", "destination"]
    assert b'"cost":0.123456,' in answer.raw
    assert [conversion["id"] for conversion in full["conversions"]] == [made["id"]]
    assert (await ids(api))[0] == click_id
    assert (await api.get("/api/v1/clicks")).data[0]["converted"] is True


async def test_a_rejected_conversion_does_not_count_as_converted(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    row = click(api.ids, api.account_id, campaign, datetime.now(UTC))
    await store_clicks(owner_connection, [row])
    click_id = click_id_text(row["click_id"])
    await api.call("POST", "/api/v1/conversions", {"click_id": click_id, "status": "rejected"})
    assert (await api.get("/api/v1/clicks")).data[0]["converted"] is False
    assert (await api.get(f"/api/v1/clicks/{click_id}")).data["converted"] is False


async def test_head_and_prefetch_rows_have_no_page_of_their_own(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    row = click(api.ids, api.account_id, campaign, datetime.now(UTC), mode=int(ClickMode.HEAD))
    await store_clicks(owner_connection, [row])
    assert (await api.get(f"/api/v1/clicks/{click_id_text(row['click_id'])}")).status == 404


async def test_an_issued_id_that_is_not_stored_yet_is_404(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    assert (await api.get(f"/api/v1/clicks/{api.ids.issue(campaign, time.time_ns() // 1_000_000)}")).status == 404
