"""Covers edge.classify.bots: which agents are programs, of which kind, by the package's patterns, our tables and the
shape of an agent. People's agents in full: test_user_agent.py."""

import re

import pytest
import ua_parser_rs
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from edge.classify.bots import (
    PUBLISHES_RANGES,
    REWRITTEN_PATTERNS,
    BotTable,
    Program,
    programs,
    readable_name,
)
from edge.classify.signals import BOT_KINDS, DECLARED_KINDS, EXEMPT_KINDS

KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
CHROME = f"Mozilla/5.0 (X11; Linux x86_64) {KHTML}"


@pytest.fixture(scope="module")
def table() -> BotTable:
    return BotTable()


def program(table: BotTable, agent: str) -> Program:
    found = table.program(agent)
    assert found is not None, agent
    return found


@pytest.mark.parametrize(
    ("agent", "kind", "name"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "search_engine", "Googlebot"),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "search_engine", "bingbot"),
        ("AdsBot-Google (+http://www.google.com/adsbot.html)", "ad_platform", "AdsBot-Google"),
        (f"{CHROME.replace('X11; ', '')}; compatible; GPTBot/1.2; +https://openai.com/gptbot", "ai_crawler", "GPTBot"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "crawler", None),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview", None),
        ("Twitterbot/1.0", "preview", "Twitterbot"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview", "Slackbot"),
        ("WhatsApp/2.24.1.84 A", "preview", "WhatsApp"),
        ("TelegramBot (like TwitterBot)", "preview", "TelegramBot"),
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor", "UptimeRobot"),
        ("curl/8.14.1", "library", "curl"),
        ("Wget/1.25.0", "library", "wget"),
        ("python-requests/2.32.5", "library", "Python"),
        ("Go-http-client/2.0", "library", "Go"),
        ("okhttp/5.1.0", "library", None),
        ("axios/1.13.1", "library", None),
        ("Java/21.0.2", "library", "Java"),
        ("Apache-HttpClient/5.4 (Java/21)", "library", "Java"),
        ("PostmanRuntime/7.49.0", "library", None),
        (f"{CHROME} HeadlessChrome/142.0.0.0 Safari/537.36", "headless", "Headless Chrome"),
        (f"{CHROME} PhantomJS/2.1.1 Safari/538.1", "headless", None),
        (f"{CHROME} Chrome/142.0.0.0 Safari/537.36 Chrome-Lighthouse", "monitor", None),
        ("() { :; }; /bin/bash -c 'id'", "scanner", "Attack"),
        ("Mozilla/5.0 zgrab/0.x", "scanner", "zgrab"),
    ],
)
def test_known_program_is_named(table: BotTable, agent: str, kind: str, name: str | None) -> None:
    found = program(table, agent)
    assert found.kind == kind
    assert name in (None, found.name)


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param("FreshlyInvented-Crawler/0.1", id="calls itself a crawler"),
        pytest.param("Mozilla/5.0 (compatible; NeverSeenBot/1.0)", id="calls itself a bot"),
        pytest.param("some-tool/3.1 (+https://tool.example/about)", id="gives the address of a page"),
        pytest.param("research (mailto:someone@university.example)", id="gives an e-mail address"),
        pytest.param("Mozilla/5.0 (compatible)", id="browser without a system"),
        pytest.param(
            f"{CHROME[:-1]}; compatible; Something/1.0) Chrome/142.0.0.0 Safari/537.36", id="name in the engine"
        ),
        pytest.param("AnyClient/1.0", id="names no system"),
        pytest.param("MyShopScraper v2 beta", id="scraper"),
        pytest.param("Mozilla/5.0 (Windows NT 10.0) SiteMonitor/2", id="monitor on a known system"),
    ],
)
def test_program_never_seen_before_is_given_away_by_its_words_or_shape(table: BotTable, agent: str) -> None:
    assert program(table, agent).kind == "program"


@pytest.mark.parametrize("agent", ["", "-", "Mozilla", "curl/8.1", "x" * 9])
def test_agent_shorter_than_any_browsers_is_a_bot(table: BotTable, agent: str) -> None:
    assert program(table, agent).kind == "short"


@pytest.mark.parametrize(
    "agent",
    [
        pytest.param(f"Mozilla/5.0 (Linux; Android 13; CUBOT P80) {KHTML} Chrome/142.0 Mobile Safari/537.36", id="CUBOT"),
        pytest.param(f"Mozilla/5.0 (Linux; Android 4.4; ViewSonic VS650) {KHTML} Chrome/81.0 Safari/537.36", id="ViewSonic"),
        pytest.param("Mozilla/5.0 (Linux; U; Android 9; M5) SogouMSE,SogouMobileBrowser/5.30", id="Sogou's browser"),
        pytest.param("Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/3.0.15", id="Lynx is built on libwww"),
        pytest.param("Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 Firefox/48.0", id="Firefox OS names no system"),
    ],
)  # fmt: skip
def test_word_inside_a_persons_agent_makes_no_bot(table: BotTable, agent: str) -> None:
    assert table.program(agent) is None


def test_every_pattern_of_the_package_compiles_alone_and_finds_its_own_instances(table: BotTable) -> None:
    for entry in CRAWLER_USER_AGENTS_DATA:
        pattern = REWRITTEN_PATTERNS.get(entry["pattern"], entry["pattern"])
        ua_parser_rs.UserAgentExtractor([(pattern, "x", None, None, None, None)])
        for instance in entry["instances"]:
            assert table.program(instance) is not None, (pattern, instance)


def test_rust_and_python_agree_on_the_package() -> None:
    for entry in CRAWLER_USER_AGENTS_DATA:
        alone = ua_parser_rs.UserAgentExtractor([(entry["pattern"], "x", None, None, None, None)])
        for instance in entry["instances"]:
            assert bool(re.search(entry["pattern"], instance)) == (alone.extract(instance) is not None)


def test_rewritten_patterns_are_still_those_of_the_package() -> None:
    assert set(REWRITTEN_PATTERNS) <= {entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA}


def test_kinds_are_closed_and_every_kind_but_short_is_used() -> None:
    assert {each.kind for each in programs()} == (set(BOT_KINDS) | {""}) - {"short"}
    assert set(BOT_KINDS) >= DECLARED_KINDS >= EXEMPT_KINDS


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"Googlebot\/", "Googlebot"),
        ("[wW]get", "wget"),
        (r"AdsBot-Google([^-]|$)", "AdsBot-Google"),
        ("S[eE][mM]rushBot", "SemrushBot"),
        ("(sistrix|SISTRIX) [cC]rawler", "sistrix crawler"),
        (r"archive\.org_bot", "archive.org_bot"),
        ("^Silk\\/", "Silk"),
    ],
)
def test_name_is_read_out_of_a_pattern(pattern: str, name: str) -> None:
    assert readable_name(pattern) == name


def test_every_pattern_of_the_package_has_a_name() -> None:
    assert all(readable_name(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA)


def test_most_crawlers_with_published_ranges_are_found_by_these_names() -> None:
    names = {each.name.lower() for each in programs()}
    assert names >= PUBLISHES_RANGES
