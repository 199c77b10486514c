"""What every client of the benchmarks sends: the campaigns it asks for and the headers of a visitor's browser.

40 current agents, addresses of a /12 in X-Forwarded-For, a sub id that never repeats within a run, campaigns drawn
evenly from all that are loaded, so that a larger table is felt wherever it costs memory.
"""

import random
from collections.abc import Iterator

from shared.campaigns import CampaignRow

DESTINATION = "https://shop.example/landing?clickid={clickid}&zone={sub1}&country={country}"
SLUG = "00000000-0000-4000-8000-%012d"
"""The public name of a campaign, by its number; the same format in C, Lua and Python."""

AGENTS = tuple(
    agent
    for major in range(120, 140)
    for agent in (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
        f" Chrome/{major}.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (iPhone; CPU iPhone OS {major - 102}_1 like Mac OS X) AppleWebKit/605.1.15"
        f" (KHTML, like Gecko) Version/{major - 102}.1 Mobile/15E148 Safari/604.1",
    )
)
HEADERS = (
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.9"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Referer", "https://news.example/article?id=7"),
)


def rows(count: int) -> Iterator[CampaignRow]:
    """Campaigns 1 to `count`: each has a destination of its own and a price a click."""
    for number in range(1, count + 1):
        yield CampaignRow(
            id=number,
            uuid=SLUG % number,
            account_id=1,
            version=1,
            name=f"Campaign {number}",
            destination_url=f"{DESTINATION}&c={number}",
            cost_model="cpc",
            cost_value="0.5",
            click_cost=500_000_000,
            cost_param="cost",
            sub_params={"sub2": "site"},
        )


def requests(count: int, campaigns: int, port: int, seed: int) -> list[bytes]:
    """`count` requests as they go over the wire."""
    draw = random.Random(seed)
    agents = [f"User-Agent: {agent}\r\n" for agent in AGENTS]
    rest = f"Host: 127.0.0.1:{port}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS) + "\r\n"
    return [
        (
            f"GET /c/{SLUG % draw.randint(1, campaigns)}?sub1=zone{number}&sub2=banner&utm_source=bench HTTP/1.1\r\n"
            f"X-Forwarded-For: 81.{draw.randrange(16)}.{draw.randrange(256)}.{draw.randrange(1, 255)}\r\n"
            f"{agents[number % len(agents)]}{rest}"
        ).encode()
        for number in range(count)
    ]


def wrk_script() -> str:
    """The same for wrk, whose arguments are: campaigns, share of new agents, a seed, `close` or `keep`, and a path
    to ask for instead of the campaigns'."""
    agents = ",\n".join(f'  "{agent}"' for agent in AGENTS)
    headers = ",\n".join(f'    ["{name}"] = "{value}"' for name, value in HEADERS)
    return f"""
local agents = {{
{agents}
}}
local campaigns, new_agents, seed, close, path, n = 1, 0, 0, false, "", 0
function init(args)
  campaigns, new_agents, seed = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  close, path = args[4] == "close", args[5] or ""
  math.randomseed(seed)
end
local function new_agent()
  return string.format("Mozilla/5.0 (Linux; Android 14; SM-A%d Build/UP1A.%06d.%d) AppleWebKit/537.36 "
    .. "(KHTML, like Gecko) Chrome/%d.0.%d.%d Mobile Safari/537.36",
    n % 900 + 100, seed % 1000000, n, 120 + n % 20, n % 7000, n % 200)
end
function request()
  n = n + 1
  local headers = {{
    ["User-Agent"] = math.random() < new_agents and new_agent() or agents[n % #agents + 1],
    ["X-Forwarded-For"] = "81." .. math.random(0, 15) .. "." .. math.random(0, 255) .. "." .. math.random(1, 254),
{headers}
  }}
  if close then headers["Connection"] = "close" end
  local asked = path
  if asked == "" then asked = string.format("/c/{SLUG}", math.random(1, campaigns)) end
  return wrk.format("GET", asked .. "?sub1=zone" .. n .. "&sub2=banner&utm_source=bench", headers)
end
"""
