"""Clients of the edge that remember, outside the product, what they were answered: the oracle of the fault tests."""

import asyncio
import random
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import aiohttp

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1",
    "curl/8.5.0",
)
PAYOUT = "2.50"


@dataclass
class Ledger:
    """What clients saw. A request without an answer may or may not have been counted; an answered one must be."""

    clicks: list[str] = field(default_factory=list)
    conversions: list[str] = field(default_factory=list)
    unanswered_clicks: int = 0
    unanswered_postbacks: list[str] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    in_flight: int = 0


async def visit(edge_url: str, uuid: str, ledger: Ledger, stop: asyncio.Event, seed: int) -> None:
    """One client: clicks on a keep-alive connection, and posts a conversion for every eighth, some of them twice."""
    chance = random.Random(seed)
    timeout = aiohttp.ClientTimeout(total=20)
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=False) as session:
        # aiohttp sends a GET again, unseen, when a kept connection breaks: such a click would count twice.
        session._retry_connection = False
        while not stop.is_set():
            headers = {
                "User-Agent": chance.choice(AGENTS),
                "X-Forwarded-For": f"81.2.{chance.randrange(256)}.{chance.randrange(256)}",
                "Accept-Language": "en-GB",
            }
            click_id = await _click(session, f"{edge_url}/c/{uuid}", headers, ledger)
            if click_id is None:
                await asyncio.sleep(0.02)
            elif chance.random() < 0.125:
                for _ in range(chance.choice((1, 1, 2))):
                    await _postback(session, edge_url, click_id, ledger)


async def _click(session: aiohttp.ClientSession, url: str, headers: dict[str, str], ledger: Ledger) -> str | None:
    ledger.in_flight += 1
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            if answer.status != 302:
                ledger.refused[answer.status] = ledger.refused.get(answer.status, 0) + 1
                ledger.unanswered_clicks += 1
                return None
            click_id = parse_qs(urlsplit(answer.headers["Location"]).query)["clickid"][0]
            ledger.clicks.append(click_id)
            return click_id
    except (aiohttp.ClientError, TimeoutError, OSError):
        ledger.unanswered_clicks += 1
        return None
    finally:
        ledger.in_flight -= 1


async def _postback(session: aiohttp.ClientSession, edge_url: str, click_id: str, ledger: Ledger) -> None:
    url = f"{edge_url}/api/v1/postback"
    ledger.in_flight += 1
    try:
        async with session.get(url, params={"clickid": click_id, "payout": PAYOUT, "txid": "t"}) as answer:
            await answer.read()
            if answer.status == 200:
                ledger.conversions.append(click_id)
            else:
                ledger.refused[answer.status] = ledger.refused.get(answer.status, 0) + 1
                ledger.unanswered_postbacks.append(click_id)
    except (aiohttp.ClientError, TimeoutError, OSError):
        ledger.unanswered_postbacks.append(click_id)
    finally:
        ledger.in_flight -= 1
