"""Who visits in the demo: browsers as people use them, programs that nobody takes for people, and where they are."""

import ipaddress
from random import Random
from typing import Final

from management.rehearsal.listed_addresses import Home

_BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Safari/537.36"
    " Edg/{c}.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0"
    " Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{c}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{c}.0) Gecko/20100101 Firefox/{c}.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{c}.0) Gecko/20100101 Firefox/{c}.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS {i}_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/{i}.{m} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS {i}_{m} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/{i}.{m} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/{i}.{m} Safari/605.1.15",
)

PROGRAMS: Final = (
    "",
    "curl/8.5.0",
    "Wget/1.21.4",
    "python-requests/2.32.3",
    "Go-http-client/1.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
)
"""Agents of programs: no agent at all, HTTP libraries, crawlers that say so. None is a link preview, which would have
a rule of its own."""

HOMES: Final[tuple[Home, ...]] = tuple(
    (language, tuple(ipaddress.ip_network(network) for network in networks))
    for language, networks in (
        ("de-DE,de;q=0.9,en;q=0.8", ("84.128.0.0/10", "2003::/19")),
        ("en-GB,en;q=0.9", ("86.128.0.0/10",)),
        ("fr-FR,fr;q=0.9,en;q=0.8", ("90.0.0.0/9", "2a01:c000::/19")),
        ("en-US,en;q=0.9", ("24.0.0.0/12",)),
        ("ja-JP,ja;q=0.9,en;q=0.8", ("126.0.0.0/8",)),
    )
)
"""Language and address ranges of large home providers, so that country reports are not empty."""

REFERRERS: Final = ("", "https://www.google.com/", "https://news.example/today", "https://forum.example/thread/812")
PAGES: Final = ("/sidebar", "/footer", "/newsletter", "/story/launch", "/story/prices")


def browser(chance: Random) -> str:
    """The agent of some current browser."""
    return chance.choice(_BROWSERS).format(
        c=chance.randrange(128, 144), i=chance.choice((17, 18, 26)), m=chance.randrange(0, 6)
    )
