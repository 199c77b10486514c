"""Covers the main job through every part: clicks and conversions in, exact figures out, within the promised time, and
the edge's survival of everything else. Kills under load: tests/faults."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.stack import Api, Stack, api, running

PERSON = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
VISIBLE_SECONDS = 2.0


async def click(client: Api, campaign: dict[str, Any], address: str, agent: str = PERSON) -> str:
    """Follow the campaign's link once; returns the click id."""
    url = f"{client.stack.edge_url}/c/{campaign['uuid']}"
    headers = {"X-Forwarded-For": address, "User-Agent": agent, "Accept-Language": "en"}
    async with client.session.get(url, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 302
        return answer.headers["Location"].rpartition("=")[2]


async def postback(client: Api, **query: str) -> dict[str, Any]:
    async with client.session.get(f"{client.stack.edge_url}/api/v1/postback", params=query) as answer:
        assert answer.status == 200
        body: dict[str, Any] = await answer.json()
        return body


async def wait_figures(client: Api, campaign_id: int, **wanted: object) -> dict[str, Any]:
    """The campaign's stats once they say what is `wanted`; fails with what they said at the promised time."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        stats = await client.stats(campaign_id)
        if all(stats[name] == value for name, value in wanted.items()):
            return stats
        assert time.monotonic() < deadline, (stats, wanted)
        await asyncio.sleep(0.02)


async def test_the_contracts_arithmetic_is_exact(stack: Stack) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(
            cost_model="cpc", cost_value=0.50, destination_url="https://shop.example/?c={clickid}"
        )
        people = [f"81.2.{number // 200}.{number % 200 + 1}" for number in range(170)]
        ids = [await click(client, campaign, address) for address in people]
        # 30 people come again, 20 of the 60 crawler visits and all the VPN visitors once each.
        ids += [await click(client, campaign, address) for address in people[:30]]
        for number in range(60):
            await click(client, campaign, f"66.249.64.{number % 40 + 1}", CRAWLER)
        for number in range(40):
            await click(client, campaign, f"203.0.113.{number + 1}")
        for number, click_id in enumerate(ids[:9]):
            for _ in range(2):
                await postback(client, clickid=click_id, payout="45.00", txid=f"order-{number}")
        stats = await wait_figures(client, campaign["id"], clicks=300, conversions=9, unique_clicks=250)
    sample = {
        "clicks": 300,
        "unique_clicks": 250,
        "real_clicks": 200,
        "bot_clicks": 60,
        "vpn_clicks": 40,
        "conversions": 9,
        "revenue": 405.00,
        "cost": 150.00,
        "profit": 255.00,
        "roi": 170.00,
        "cr": 4.50,
        "epc": 1.35,
    }
    assert {name: stats[name] for name in sample} == sample
    assert list(stats)[: len(sample)] == list(sample)


async def test_figures_are_written_with_two_to_four_decimals(stack: Stack) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(cost_model="cpc", cost_value=0.50)
        headers = {"Authorization": f"Bearer {client.token}"}
        url = f"{stack.api_url}/api/v1/campaigns/{campaign['id']}/stats"
        async with client.session.get(url, headers=headers) as answer:
            text = await answer.text()
    assert '"revenue":0.00,"cost":0.00,"profit":0.00,"roi":null,"cr":null,"epc":null' in text


async def test_a_click_is_seen_within_the_promised_time(stack: Stack) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(destination_url="https://shop.example/?c={clickid}")
        click_id = await click(client, campaign, "81.2.69.142")
        await wait_figures(client, campaign["id"], clicks=1, unique_clicks=1)
        status, body = await client.call("GET", f"/api/v1/clicks/{click_id}")
    assert status == 200
    assert body["data"]["stored_ip"] == "81.2.69.0"


async def test_a_conversion_may_arrive_before_its_click_is_stored(stack: Stack) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(destination_url="https://shop.example/?c={clickid}")
        os.kill(stack.pid("ingest"), signal.SIGSTOP)
        try:
            click_id = await click(client, campaign, "81.2.69.1")
            status, _ = await client.call(
                "POST", "/api/v1/conversions", {"click_id": click_id, "payout": 7.5, "transaction_id": "a"}
            )
            waiting = await client.stats(campaign["id"])
        finally:
            os.kill(stack.pid("ingest"), signal.SIGCONT)
        assert status == 201
        assert (waiting["clicks"], waiting["conversions"], waiting["revenue"]) == (0, 1, 7.5)
        await wait_figures(client, campaign["id"], clicks=1, conversions=1, real_conversions=1)


async def test_links_survive_everything_else_also_through_a_restart_of_the_edge(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        async with api(stack) as client:
            campaign = await client.campaign(destination_url="https://shop.example/?c={clickid}")
            # Frozen, the supervisor restarts nothing but what the edge's own supervisor restarts.
            assert stack.process is not None
            os.kill(stack.process.pid, signal.SIGSTOP)
            try:
                for part in ("postgres", "valkey", "ingest", "fold", "api", "jobs"):
                    stack.kill(part)
                before = await click(client, campaign, "81.2.69.1")
                pid = stack.kill("edge-0")
                await stack.wait_restarted("edge-0", pid)
                async with asyncio.timeout(20):
                    after = await click_when_it_answers(client, campaign)
            finally:
                os.kill(stack.process.pid, signal.SIGCONT)
            deadline = time.monotonic() + 60
            while await seen(client) < 2:
                assert time.monotonic() < deadline, stack.output()
                await asyncio.sleep(0.2)
            stats = await client.stats(campaign["id"])
    assert before != after
    assert stats["clicks"] == 2


async def click_when_it_answers(client: Api, campaign: dict[str, Any]) -> str:
    while True:
        try:
            return await click(client, campaign, "81.2.69.2")
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


async def seen(client: Api) -> int:
    """Clicks that the API counts; 0 while it does not answer."""
    try:
        status, body = await client.call("GET", "/api/v1/stats")
    except aiohttp.ClientConnectionError:
        return 0
    return int(body["data"]["clicks"]) if status == 200 else 0
