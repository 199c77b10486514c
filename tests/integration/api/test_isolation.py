"""Tenants never meet: a foreign id answers byte for byte like a missing one, and Postgres is the second wall.

How a tenant is told from its token is test_tokens.py.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from management.api.routes import ROUTES
from management.db.pool import APP_ROLE, open_pool, reading, role_url, writing
from shared.ids import ClickIds, KeyRing, click_id_text
from tests.api_server import Api
from tests.builders import Connection, click, store_campaign, store_clicks, store_rollup

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING_CAMPAIGN = 2_000_000_000


@pytest_asyncio.fixture(loop_scope="module")
async def foreign(stranger: Api, owner_connection: Connection, ring: KeyRing) -> dict[str, str]:
    """Ids of another account's campaign, click and conversion, all of them there."""
    campaign = await store_campaign(owner_connection, stranger.account_id)
    row = click(stranger.ids, stranger.account_id, campaign, datetime.now(UTC))
    await store_clicks(owner_connection, [row])
    await store_rollup(owner_connection, stranger.account_id, campaign, datetime.now(UTC), clicks=3)
    click_id = click_id_text(row["click_id"])
    made = await stranger.call("POST", "/api/v1/conversions", {"click_id": click_id, "payout": 1})
    ids = {"campaigns": str(campaign), "clicks": click_id, "conversions": made.data["id"]}
    for name, own in ids.items():
        assert (await stranger.get(f"/api/v1/{name}/{own}")).status == 200
    return ids


def missing(ring: KeyRing) -> dict[str, str]:
    never_issued = ClickIds(ring).issue(MISSING_CAMPAIGN, time.time_ns() // 1_000_000)
    return {"campaigns": str(MISSING_CAMPAIGN), "clicks": never_issued, "conversions": "conv_" + "0" * 32}


async def test_every_path_with_an_id_answers_a_foreign_one_like_a_missing_one(
    api: Api, foreign: Mapping[str, str], ring: KeyRing, owner_connection: Connection
) -> None:
    before = await owner_connection.fetch("SELECT * FROM campaigns ORDER BY id")
    with_id = [route for route in ROUTES if "{id}" in route.path]
    assert len(with_id) == 6
    for route in with_id:
        kind = route.path.split("/")[3]
        for body in ({"name": "mine now"}, {"colour": 1}) if route.body else (None,):
            theirs = await api.call(route.method, route.path.replace("{id}", foreign[kind]), body)
            nobodys = await api.call(route.method, route.path.replace("{id}", missing(ring)[kind]), body)
            assert (theirs.status, theirs.raw) == (nobodys.status, nobodys.raw), route.path
            assert theirs.status == 404, route.path
    assert await owner_connection.fetch("SELECT * FROM campaigns ORDER BY id") == before


async def test_a_foreign_campaign_in_a_filter_is_an_empty_list(api: Api, foreign: Mapping[str, str]) -> None:
    for path in ("/api/v1/clicks", "/api/v1/conversions"):
        theirs = await api.get(path, campaign_id=foreign["campaigns"])
        nobodys = await api.get(path, campaign_id=str(MISSING_CAMPAIGN))
        beyond_all_ids = await api.get(path, campaign_id="9" * 18)
        assert theirs.raw == nobodys.raw == beyond_all_ids.raw
        assert theirs.status == 200
        assert (theirs.data, theirs.body["meta"]["total"]) == ([], 0)


async def test_lists_and_figures_hold_nothing_of_others(api: Api, foreign: Mapping[str, str]) -> None:
    for path in ("/api/v1/campaigns", "/api/v1/clicks", "/api/v1/conversions"):
        answer = await api.get(path)
        assert (answer.data, answer.body["meta"]["total"]) == ([], 0), path
    stats = (await api.get("/api/v1/stats")).data
    assert (stats["clicks"], stats["conversions"]) == (0, 0)


async def test_a_conversion_of_a_foreign_click_is_404_like_one_of_no_campaign(
    api: Api, foreign: Mapping[str, str], ring: KeyRing, owner_connection: Connection
) -> None:
    theirs = await api.call("POST", "/api/v1/conversions", {"click_id": foreign["clicks"], "payout": 9})
    nobodys = await api.call("POST", "/api/v1/conversions", {"click_id": missing(ring)["clicks"], "payout": 9})
    assert (theirs.status, theirs.raw) == (404, nobodys.raw)
    assert await owner_connection.fetchval("SELECT count(*) FROM postbacks WHERE payout = 9") == 0


async def test_a_cursor_of_another_account_is_refused(api: Api, stranger: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, stranger.account_id)
    rows = [click(api.ids, stranger.account_id, campaign, datetime.now(UTC)) for _ in range(2)]
    await store_clicks(owner_connection, rows)
    cursor = (await stranger.get("/api/v1/clicks", per_page="1")).body["meta"]["next_cursor"]
    assert (await stranger.get("/api/v1/clicks", cursor=cursor)).status == 200
    assert (await api.get("/api/v1/clicks", cursor=cursor)).status == 400
    assert (await stranger.get("/api/v1/conversions", cursor=cursor)).status == 400


_TENANT_TABLES = (
    "accounts", "users", "campaigns", "clicks", "postbacks", "click_deltas", "postback_deltas", "click_labels",
    "conversions", "r15", "account_sums", "conversions_current",
)  # fmt: skip


async def test_postgres_itself_shows_one_account_alone(
    api: Api, stranger: Api, foreign: Mapping[str, str], database_url: str, ring: KeyRing
) -> None:
    pool = await open_pool(role_url(database_url, APP_ROLE, ring), application="a test", size=1)
    for table in _TENANT_TABLES:
        column = "id" if table == "accounts" else "account_id"
        async with pool.acquire() as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, f"{table} without an account"
        async with reading(pool, api.account_id) as connection:
            seen = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {column} <> $1", api.account_id)
            assert seen == 0, table
    async with reading(pool, stranger.account_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM clicks") == 1
    await pool.close()


async def test_postgres_refuses_a_row_for_another_account(
    api: Api, stranger: Api, foreign: Mapping[str, str], database_url: str, ring: KeyRing
) -> None:
    pool = await open_pool(role_url(database_url, APP_ROLE, ring), application="a test", size=1)
    changed: Any
    async with writing(pool, api.account_id) as connection:
        changed = await connection.execute("UPDATE campaigns SET name = 'x' WHERE id = $1", int(foreign["campaigns"]))
    assert changed == "UPDATE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with writing(pool, api.account_id) as connection:
            await connection.execute(
                "INSERT INTO users (account_id, email, name, role, password_hash) VALUES ($1, 'x@y', 'x', 'owner', 'x')",
                stranger.account_id,
            )
    await pool.close()
