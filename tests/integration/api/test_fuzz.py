"""Whatever is sent, to whatever route: an answer in the envelope, never a 5xx.

The meaning of each refusal is tests/contract/api/test_bad_input.py.
"""

import json
import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from yarl import URL

from management.api.routes import ROUTES
from shared.ids import click_id_text
from tests.api_server import Api
from tests.builders import Connection, click, store_campaign, store_clicks

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUNDS = 60
TEXTS = [
    "", " ", "0", "1", "-1", "1e18", "9" * 40, "NaN", "null", "true", "x" * 3000, "é", "\u0000", "\ud800", "%", "%zz", "'",
    '"', "\\", "{clickid}", "../..", "2024-02-30", "2024-01-15", "9999-12-31", "0001-01-01", "UK", "real", "active",
    "https://shop.example/", "javascript:x", "cpc", "EUR", "🙂", "\u202e", "\r\nX: y", ";", "&a=b", "٣",
]  # fmt: skip
VALUES: list[Any] = [
    *TEXTS[:-1], None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.5, 1e-9, 1e308, 45.123456, [], {}, [[]],
    ["x"], [None], {"x": 1}, [1] * 200, ["203.0.113.0/24"], "clk_" + "A" * 36,
]  # fmt: skip
PATH_IDS = [
    "0", "-1", "99999999999", "abc", "%00", "%ff", "%2f", "%2e%2e", "1;2", "%F0%9F%99%82", "clk_" + "A" * 36,
    "conv_" + "f" * 32, "conv_" + "F" * 32, "x" * 2000, "1%0d%0aX:y",
]  # fmt: skip
NAMES = [
    "page",
    "per_page",
    "from",
    "to",
    "status",
    "country",
    "campaign_id",
    "cursor",
    "time_basis",
    "name",
    "🙂",
    "",
    "a[]",
]
HEADERS = [
    {}, {}, {}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=x"}, {"X-Request-Id": "é"},
    {"Authorization": "Bearer x"}, {"X-Forwarded-For": "x,,1.2.3.4:5, [::1]:9"}, {"X-Forwarded-Proto": "ftp"},
    {"Accept": "text/html"}, {"X-HTTP-Method-Override": "DELETE"}, {"Expect": "100-continue"}, {"Range": "bytes=0-1"},
]  # fmt: skip


def fuzzed_body(random_: random.Random, fields: list[str]) -> bytes:
    if random_.random() < 0.15:
        return bytes(random_.choice(b'{}[]",:0123456789eE+-.\\u\x00\xffnull') for _ in range(random_.randrange(60)))
    names = random_.sample([*fields, "unknown", "", "id"], random_.randrange(1, 5))
    members = ",".join(f"{json.dumps(name)}:{json.dumps(random_.choice(VALUES))}" for name in names)
    return ("{" + members + "}").encode()


def fuzzed_url(random_: random.Random, api: Api, path: str, own: dict[str, str]) -> URL:
    kind = path.split("/")[3]
    chosen = random_.choice([own.get(kind, "1"), random_.choice(PATH_IDS)])
    raw = api.url + path.replace("{id}", chosen)
    pairs = [f"{percent(random_.choice(NAMES))}={percent(random_.choice(TEXTS))}" for _ in range(random_.randrange(4))]
    return URL(raw + ("?" + "&".join(pairs) if pairs else ""), encoded=True)


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_input_makes_a_5xx(api: Api, owner_connection: Connection, route: Any) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    row = click(api.ids, api.account_id, campaign, datetime.now(UTC))
    await store_clicks(owner_connection, [row])
    click_id = click_id_text(row["click_id"])
    made = await api.call("POST", "/api/v1/conversions", {"click_id": click_id})
    own = {"campaigns": str(campaign), "clicks": click_id, "conversions": made.data["id"]}
    fields = list(route.body.model_fields) if route.body else []
    seed = time.time_ns()
    random_ = random.Random(seed)
    for _ in range(ROUNDS):
        url = fuzzed_url(random_, api, route.path, own)
        body = fuzzed_body(random_, fields) if fields else None
        if body is not None and route.path.endswith("/conversions") and random_.random() < 0.7:
            body = body.replace(b"{", b'{"click_id":"%s",' % click_id.encode(), 1)
        headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
        headers |= random_.choice(HEADERS)
        if route.path.endswith("/token"):
            headers.pop("Authorization")
        async with api.session.request(route.method, url, data=body, headers=headers, allow_redirects=False) as answer:
            content = await answer.json(content_type="application/json")
            what = (seed, route.method, str(url), body, headers, content)
            assert answer.status < 500, what
            assert content["success"] is (answer.status < 300), what
            assert answer.headers["Cache-Control"] == "no-store", what
            assert "X" not in answer.headers, what
