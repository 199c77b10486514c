"""Reporting conversions on the API's port: the key, repeats, status changes, the window, what is stored.

Bad bodies are tests/contract/api/test_bad_input.py; how fold settles calls is tests/integration/fold.
"""

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from shared.postback import DELETED_CAMPAIGN
from tests.api_server import Answer, Api
from tests.builders import Connection, click, store_campaign, store_clicks

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def report(api: Api, click_id: str, **fields: object) -> Answer:
    return await api.call("POST", "/api/v1/conversions", {"click_id": click_id, **fields})


async def test_what_is_stored_is_what_ingest_stores_of_an_edge(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(
        owner_connection, api.account_id, cost_model="cpa", cost_value=Decimal("3.5"), default_payout=Decimal("7")
    )
    made = (
        await report(api, api.ids.issue(campaign, now_ms()), payout=45.5, transaction_id=" T 1 ", event="sale")
    ).data
    row = await owner_connection.fetchrow("SELECT * FROM postbacks WHERE account_id = $1", api.account_id)
    assert row is not None
    stored = {
        "campaign_id": campaign, "conversion_id": bytes.fromhex(made["id"][5:]), "event": "sale",
        "transaction_id": "T 1", "status": "approved", "payout": Decimal("45.5"), "default_payout": Decimal("7"),
        "currency": "USD", "reason": 0, "http_status": 201, "security": "open", "trusted": True,
        "duplicate_mode": "ignore", "cost_model": "cpa", "cost_value": Decimal("3.5"), "method": "POST",
        "origin": "api", "stream": bytes(16), "source_ip": "127.0.0.0",
    }  # fmt: skip
    assert {name: row[name] for name in stored} == stored
    delta = await owner_connection.fetchrow("SELECT * FROM postback_deltas WHERE account_id = $1", api.account_id)
    assert delta is not None
    assert (delta["postback_id"], delta["conversion_id"]) == (row["id"], row["conversion_id"])


async def test_figures_count_it_at_once_and_a_repeat_never(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    row = click(api.ids, api.account_id, campaign, datetime.now(UTC))
    await store_clicks(owner_connection, [row])
    click_id = (await api.get("/api/v1/clicks")).data[0]["id"]
    for status in (201, 200, 200):
        assert (await report(api, click_id, payout=20, transaction_id="a")).status == status
    assert (await report(api, click_id, payout=5, transaction_id="b")).status == 201
    assert (await report(api, click_id, payout=5, event="lead")).status == 201
    stats = (await api.get("/api/v1/stats")).data
    assert (stats["conversions"], stats["revenue"], stats["real_clicks"]) == (3, 30, 1)


async def test_many_at_once_make_one(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    await asyncio.gather(*(api.get("/api/v1/stats") for _ in range(20)))  # every connection of the pool is open
    for _ in range(10):
        click_id = api.ids.issue(campaign, now_ms())
        answers = await asyncio.gather(*(report(api, click_id, payout=1, transaction_id="x") for _ in range(10)))
        assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
        assert len({answer.data["id"] for answer in answers}) == 1


async def test_without_payout_the_campaigns_default_counts(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id, default_payout=Decimal("12.345678"))
    answer = await report(api, api.ids.issue(campaign, now_ms()))
    assert b'"payout":12.345678,' in answer.raw
    plain = await store_campaign(owner_connection, api.account_id)
    assert b'"payout":0.00,' in (await report(api, api.ids.issue(plain, now_ms()))).raw


@pytest.mark.parametrize(
    ("steps", "statuses", "last"),
    [
        (("pending", "approved"), (201, 201), "approved"),
        (("approved", "refunded"), (201, 201), "refunded"),
        (("approved", "refunded", "refunded"), (201, 201, 200), "refunded"),
        (("approved", "chargeback", "approved"), (201, 201, 409), "chargeback"),
        (("rejected", "approved"), (201, 409), "rejected"),
        (("refunded",), (409,), None),
    ],
)
async def test_a_status_follows_the_table(
    api: Api, owner_connection: Connection, steps: tuple[str, ...], statuses: tuple[int, ...], last: str | None
) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    click_id = api.ids.issue(campaign, now_ms())
    answers = []
    for status in steps:
        answers.append(await report(api, click_id, payout=30, transaction_id="k", status=status))
    assert tuple(answer.status for answer in answers) == statuses
    accepted = [answer.data for answer in answers if answer.status < 400]
    for refused in (answer for answer in answers if answer.status == 409):
        assert refused.error["details"] == {"reason": ["TRANSITION"]}
    stored = await owner_connection.fetchval("SELECT count(*) FROM postbacks WHERE account_id = $1", api.account_id)
    assert stored == len(accepted), "a refused call leaves nothing that could take effect later"
    assert (accepted[-1]["status"] if accepted else None) == last
    assert all(row["payout"] == 30 for row in accepted)


async def test_a_refund_may_be_negative_and_keeps_the_amount(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    click_id = api.ids.issue(campaign, now_ms())
    await report(api, click_id, payout=30)
    answer = await report(api, click_id, payout=-30, status="refunded")
    assert (answer.status, answer.data["status"], answer.data["payout"]) == (201, "refunded", 30)
    assert "duplicate" not in answer.data


@pytest.mark.parametrize(
    ("mode", "second", "payout"),
    [("ignore", 200, 10), ("update", 201, 4), ("add", 201, 14)],
)
async def test_a_repeat_does_what_the_campaigns_mode_says(
    api: Api, owner_connection: Connection, mode: str, second: int, payout: int
) -> None:
    campaign = await store_campaign(owner_connection, api.account_id, duplicate_mode=mode)
    click_id = api.ids.issue(campaign, now_ms())
    await report(api, click_id, payout=10)
    answer = await report(api, click_id, payout=4)
    assert (answer.status, answer.data["payout"]) == (second, payout)


async def test_in_mode_new_every_call_without_transaction_counts(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id, duplicate_mode="new")
    click_id = api.ids.issue(campaign, now_ms())
    made = {(await report(api, click_id, payout=1)).data["id"] for _ in range(3)}
    assert len(made) == 3
    assert (await report(api, click_id, transaction_id="t")).status == 201
    assert (await report(api, click_id, transaction_id="t")).status == 200


async def test_beyond_the_window_it_is_gone(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id, attribution_window_hours=2)
    inside = await report(api, api.ids.issue(campaign, now_ms() - 2 * HOUR_MS + 20_000))
    assert inside.status == 201
    outside = await report(api, api.ids.issue(campaign, now_ms() - 2 * HOUR_MS - 1))
    assert (outside.status, outside.error["code"]) == (410, "CLICK_EXPIRED")
    assert outside.error["details"] == {"reason": ["CLICK_EXPIRED"]}


async def test_a_deleted_campaign_converts_until_its_window_ends(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id, deleted_at=datetime.now(UTC))
    assert (await report(api, api.ids.issue(campaign, now_ms()))).status == 201
    reason = await owner_connection.fetchval("SELECT reason FROM postbacks WHERE account_id = $1", api.account_id)
    assert reason == DELETED_CAMPAIGN


async def test_a_click_of_the_key_next_to_come_may_come_again(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    own = api.ids.issue(campaign, now_ms())
    # The key's number is the id's first byte: AQ… is 1, Ag… is 2, Aw… is 3.
    answer = await report(api, own.replace("clk_AQ", "clk_Ag", 1))
    assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["Retry-After"]
    answer = await report(api, own.replace("clk_AQ", "clk_Aw", 1))
    assert (answer.status, answer.error["details"]) == (400, {"reason": ["INVALID_CLICK_ID"]})


async def test_the_list_is_newest_first_filtered_and_walked(api: Api, owner_connection: Connection) -> None:
    first = await store_campaign(owner_connection, api.account_id)
    second = await store_campaign(owner_connection, api.account_id)
    made: list[dict[str, Any]] = []
    for number, (campaign, status) in enumerate(
        [(first, "approved"), (second, "pending"), (first, "rejected"), (second, "approved"), (first, "approved")]
    ):
        answer = await report(api, api.ids.issue(campaign, now_ms()), transaction_id=str(number), status=status)
        made.insert(0, answer.data)
        await asyncio.sleep(0.002)
    names = [row["transaction_id"] for row in made]
    today = datetime.now(UTC).date().isoformat()
    for params, expected in (
        ({}, names),
        ({"campaign_id": str(first)}, ["4", "2", "0"]),
        ({"status": "approved"}, ["4", "3", "0"]),
        ({"status": "chargeback"}, []),
        ({"to": "2020-01-01"}, []),
        ({"from": today}, names),
    ):
        answer = await api.get("/api/v1/conversions", **params)
        assert [row["transaction_id"] for row in answer.data] == expected, params
        assert answer.body["meta"]["total"] == len(expected)
    page = await api.get("/api/v1/conversions", per_page="2")
    after = await api.get("/api/v1/conversions", per_page="3", cursor=page.body["meta"]["next_cursor"])
    assert page.data + after.data == made
    assert after.body["meta"]["next_cursor"] is None
