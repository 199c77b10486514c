"""Which user agents are programs: the published crawler patterns, our own tables, and what a browser looks like.

One ordered list of regular expressions, compiled once into the Rust extractor of ua-parser; the first that matches
decides. The order is the argument:

1. families of agents that were taken for bots by a word or a pattern below and are people's browsers;
2. our own named programs, because the package has no word for some of them or a wrong one;
3. the patterns of the PyPI package `crawler-user-agents` with a kind made from their tags;
4. words and shapes by which programs call themselves (bot, crawler, an address of a web page, an e-mail address);
5. the systems and browsers that people use: no bot;
6. whatever is left names no system a person could sit at: a program.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ua_parser_rs
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from edge.classify.alternatives import alternatives

SHORTEST_AGENT = 10
"""Characters; no browser in use names itself in fewer."""

_KIND_OF_TAG = {
    "http-library": "library",
    "browser-automation": "headless",
    "social-preview": "preview",
    "advertising": "ad_platform",
    "search-engine": "search_engine",
    "ai-crawler": "ai_crawler",
    "monitoring": "monitor",
    "feed-reader": "feed_reader",
    "scanner": "scanner",
}
"""In order of preference for patterns with several tags; tags that are not here (seo, archiver, academic): crawler."""

REWRITTEN_PATTERNS = {
    "Sogou": r"Sogou[ \w-]*[Ss]pider",  # the bare word is in two browsers and a keyboard
    "Sonic": r"(?:^|[ (])Sonic/",  # ViewSonic
    "Butterfly": r"(?:^|[ (])Butterfly/",  # a phone of HTC
    r"008\/": r"(?:^|[ (])008/",  # the end of any build number
    r"Fetch\/": r"(?:^|[ (])Fetch/",  # the engine of Firefox for Android
    "Blackboard": r"^Blackboard",  # also the app of a learning platform
    "Viber": r"^Viber$",  # also the messenger's own browser
}
"""Patterns of the package that also match agents of people, and what stands for them."""

PUBLISHES_RANGES = frozenset(
    {
        "googlebot", "googlebot-mobile", "googlebot-image", "googlebot-news", "googlebot-video",
        "adsbot-google", "adsbot-google-mobile", "mediapartners-google", "google-inspectiontool", "storebot-google",
        "googleother", "bingbot", "adidxbot", "applebot", "duckduckbot", "gptbot", "oai-searchbot", "chatgpt-user",
        "perplexitybot", "perplexity-user", "amazonbot", "ahrefsbot", "ccbot",
    }
)  # fmt: skip
"""Names (lower case) of crawlers whose operators publish, as a list to download, every address they come from."""


@dataclass(frozen=True, slots=True)
class Program:
    """One entry of the ordered list. An empty `kind` means: a person's browser, look no further."""

    pattern: str
    kind: str
    name: str = ""


# Browsers and devices of people in whose agents a word or pattern below occurs.
_PEOPLE = (
    r"(?i)\b(?:cu|id|m |vr )bot[ _a-z0-9]*(?:build|\)|;)",  # phones and tablets: CUBOT, IDbot, M bot, VR BOT
    r"^(?:Lynx|NCSA[ _]Mosaic|ELinks|Links|w3m)\b",  # built on libwww, like many robots
)

_OWN_PROGRAMS = (
    Program(r"Headless", "headless", "Headless Chrome"),
    Program(r"(?i)puppeteer|playwright|selenium|webdriver|cypress", "headless", "Browser automation"),
    Program(r"(?i)wkhtmlto|phantomjs|slimerjs|electron-pdf|htmlunit|prince/", "headless", "Page renderer"),
    Program(r"(?i)\bcurl[/ ]|libcurl", "library", "curl"),
    Program(r"(?i)\bc?python|urllib|pycurl|aiohttp|httpx|mechanize", "library", "Python"),
    Program(r"(?i)okhttp|alamofire|afnetworking", "library", "HTTP library of apps"),
    Program(r"(?i)(?:^|[ (])java/\d|apache-httpc|jakarta|async-?http|unirest|vert\.x|gradle", "library", "Java"),
    Program(r"(?i)^node|node-fetch|node\.js|undici|^got |superagent|axios", "library", "Node.js"),
    Program(r"(?i)go-http|go http|fasthttp|go-resty", "library", "Go"),
    Program(r"(?i)guzzle|(?:^|[ (])php[/ ]|wordpress|drupal|joomla|zend_http|symfony", "library", "PHP"),
    Program(r"(?i)libwww|\blwp[-:]|\bperl\b", "library", "Perl"),
    Program(r"(?i)\bruby|faraday|typhoeus|httparty|rest-client", "library", "Ruby"),
    Program(r"(?i)reqwest|\bhyper/|restsharp|winhttp|msxml|powershell|\bhttpclient", "library", "HTTP library"),
    Program(r"(?i)postman|insomnia|httpie|apachebench|jmeter|\bsiege\b|\bk6/|locust", "library", "HTTP tool"),
    Program(r"(?i)googleimageproxy|ggpht", "preview", "Google image proxy"),
    Program(r"(?i)facebookexternalhit|facebookcatalog|meta-externalfetcher", "preview", "facebookexternalhit"),
    Program(r"(?i)link ?preview|url ?preview|unfurl|embedly|iframely|opengraph", "preview", "Link preview"),
    # an office program asks for a link itself before it hands the link to the browser
    Program(
        r"(?i)microsoft (?:office|outlook) |\b(?:word|excel|powerpoint)/\d|\bmacoutlook", "preview", "Microsoft Office"
    ),
    Program(r"(?i)lighthouse|page ?speed|gtmetrix|webpagetest|\bptst\b", "monitor", "Page speed test"),
    Program(
        r"(?i)gomez|catchpoint|neustar|dynatrace|yottaa|debugbear|statuscake|site24x7", "monitor", "Uptime monitor"
    ),
    Program(
        r"(?i)<script|\$\{jndi|\bunion\b.{1,40}\bselect\b|\bselect\b.{1,80}\b(?:from|load_file)\b|\bsleep ?\(|' or \d"
        r"|\.\./\.\./|/etc/passwd|\(\) ?\{|burpcollaborator|nmap|nikto|sqlmap|nessus",
        "scanner",
        "Attack",
    ),
)

# The words by which programs name themselves, and the shapes that only programs have.
_WORDS = (
    r"(?i)bot(?:[^a-z]|$)|robot|crawl|spider|scrap(?:e|er|ing|y)\b|slurp|archiver|indexer|harvest|\bmining\b",
    r"(?i)monitor(?:ing)?\b|uptime|checker|validator|(?:link|url|site|web) ?(?:check|test|scan|analy)|analyzer",
    r"(?i)\bprob(?:e|ing)\b|\bscan(?:ner|ning)?\b|[a-z]scan\b|\bfetch(?:er|ing)?\b|download(?:er|ing)|favicon|extract(?:or|er)",
    r"(?i)\bfeed|feeds?\b|rss|newswire|podcast|syndication|aggregator|reader/|summar(?:y|izer)",
    r"(?i)screenshot|thumb(?:nail)?s?/|websnap|web ?thumb|snapshot|\bpreview|transcoder|proxy\b|verifier",
    r"\+ ?https?:|\( ?https?:|; ?https?:|^https?:|https?://[^ ()]*\)?$|@[A-Za-z0-9-]+\.[A-Za-z]{2,}| dot com\b",
    r"(?i)\bwww\.|[a-z]{3,}\.(?:com|org|io)\b",
    # browsers put the rendering engine last and bracket it; a name after that mark is a visitor of another kind
    r"KHTML, like Gecko; ?[A-Za-z]|Safari/[0-9.]+ \(compatible;|\(compatible\)|\(compatible; ?[A-Za-z.-]+/[0-9.]+;?\)",
)

# What a person's browser says about the machine it runs on, or about itself where it names no machine.
_SYSTEMS = (
    r"Windows|Win(?:9[58]|NT|16|32|64)|Mac(?:intosh|_PowerPC|_Intel| OS)|X11|Linux|CrOS|BSD|SunOS|OS/2|BeOS|Haiku",
    r"(?i)amiga|aros\b|risc os|unix|solaris|irix|vms|\bqnx\b|inferno|syllable|\bnext\b",
    r"(?i)android|iphone|ipad|ipod|\bios\b|cfnetwork|darwin/",
    r"(?i)symbian|series ?[46]0|maemo|meego|tizen|webos|web0s|kaios|harmonyos|blackberry|\bbb10\b|playbook|\bwp7\b",
    r"(?i)nokia|sonyericsson|samsung|\blge?[-/ ]|\bmot-|motorola|\bsie-|siemens|alcatel|huawei|lenovo|micromax|philips",
    r"(?i)htc[_-]|panasonic|\bsharp|sanyo|zte|sagem|kyocera|coolpad|docomo|ddipocket|kddi|softbank|vodafone|j-phone",
    r"(?i)midp|cldc|j2me|brew|up\.browser|up\.link|\bwap\b|obigo|netfront|ave-?front|maui|ucweb|uc ?browser|opera m",
    r"(?i)\bmre/|jblend|nucleus|jig browser|au\.browser|cellphone|mqqbrowser|qqbrowser|avantgo|pocket internet",
    r"(?i)hbbtv|smart-?tv|\bdtv\b|netcast|roku|appletv|ce-html|crkey|kreatv|opentv|espial|inettv|\bomi/|\btv/\d",
    r"(?i)playstation|\bps[34]\b|nintendo|xbox|\bwii\b|dreamcast|kindle|silk|webtv|netsurf|dillo|icab|ibrowse|aweb",
    r"(?i)konqueror|escape|epoc|omniweb|webexplorer|\(mobile; |\(tablet; |rv:\d+(?:\.\d+)*\) gecko/\d",
)


def _from_package(entry: dict[str, Any]) -> Program:
    pattern: str = entry["pattern"]
    tags = entry.get("tags", ())
    kind = next((kind for tag, kind in _KIND_OF_TAG.items() if tag in tags), "crawler")
    return Program(REWRITTEN_PATTERNS.get(pattern, pattern), kind, readable_name(pattern))


def readable_name(pattern: str) -> str:
    """A program's name out of the pattern that finds it: the first of alternatives and of character classes,
    without escapes, anchors and the separator at its end (`[wW]get` → wget, `Googlebot\\/` → Googlebot)."""
    name = re.sub(r"\[\^[^\]]*\]", "", pattern)
    name = re.sub(r"\[(.)[^\]]*\]", r"\1", name)
    name = re.sub(r"\(\^?\|? ?\)", "", name)
    name = re.sub(r"\((?:\?:)?([^|()]*)[^()]*\)", r"\1", name)
    name = re.sub(r"[\\^$]", "", name)
    return name.strip(" /;()-|?+*")


def programs() -> Iterator[Program]:
    """The whole ordered list."""
    yield from (Program(pattern, "") for pattern in _PEOPLE)
    yield from _OWN_PROGRAMS
    yield from (_from_package(entry) for entry in CRAWLER_USER_AGENTS_DATA)
    yield from (Program(pattern, "program") for pattern in _WORDS)
    yield from (Program(pattern, "") for pattern in _SYSTEMS)


class BotTable:
    """The ordered list, compiled. Raises ValueError at start if the Rust engine cannot take a pattern."""

    def __init__(self) -> None:
        self._programs = tuple(programs())
        self._extractor = ua_parser_rs.UserAgentExtractor(
            (pattern, str(place), None, None, None, None)
            for place, program in enumerate(self._programs)
            for pattern in alternatives(program.pattern)
        )

    def program(self, user_agent: str) -> Program | None:
        """The program that sent the agent, None for a person's browser."""
        if len(user_agent) < SHORTEST_AGENT:
            return _SHORT
        match = self._extractor.extract(user_agent)
        if match is None:
            return _NAMELESS
        program = self._programs[int(match.family)]
        return program if program.kind else None


_SHORT = Program("", "short")
_NAMELESS = Program("", "program")
