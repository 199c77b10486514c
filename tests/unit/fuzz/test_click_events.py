"""Any request for a link, from its bytes to the row that ingest makes of it: one event, never a dead letter, nothing in
it that was not asked for, and a target that is the campaign's.

The core and the real classifier on real address files; no server. How bytes become a request is in
tests/integration/edge/hostile.
"""

import re
from ipaddress import ip_network
from typing import Any

import ada_url
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from edge.click import Click, ClickCore
from edge.click_request import RequestReader
from edge.client_ip import IpStorage, TrustedProxies
from edge.parse import header_text, link_parameters, referrer
from management.ingest import wire
from management.ingest.decode import ClickRow, decode
from shared import events
from shared.campaigns import AccountRow, CampaignRow
from shared.ids import ClickIds, KeyRing, click_id_text
from shared.journal import MAX_PAYLOAD
from shared.traffic import ClickMode, Flag, Outcome, TrafficClass
from tests.unit.classify.builders import write_mmdb
from tests.unit.edge.builders import NOON_MS, built, campaign_row, raw_table
from tests.unit.fuzz.effort import searched
from tests.unit.fuzz.hostile import queries, raw_values

STREAM = bytes(16)
PROXIES = TrustedProxies([ip_network("127.0.0.0/8")])
RING = KeyRing.generate()
DESTINATION = (
    "https://shop.example:8443/{sub1}/{country}?c={clickid}&k={campaign_id}&p={cost}&n={campaign_name}&i={isp}&t={city}"
    "&r={referrer_domain}&l={language}&b={browser}&a={asn}&x={param:a}&u={campaign_uuid}&fixed=1#{sub2}"
)
EVIL_PLACE: dict[str, Any] = {
    "country": {"iso_code": "de"},
    "city": {"names": {"en": 'A "quoted"\\ city&x=1'}},
    "subdivisions": [{"names": {"en": "\x1b[31m\u2028/../"}}],
    "autonomous_system_number": 64500,
    "autonomous_system_organization": "Net, Inc. {sub1} é",
}
AGENTS = (
    b"", b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", b"curl/8.0", b"Googlebot/2.1",
    b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", b"facebookexternalhit/1.1", b'"', b"\\",
)  # fmt: skip


EXPECTED_FIELDS = {"v", *wire.CLICK_FIELDS, "rules"}
EXPECTED_DETAILS = set(
    [
        "os_version",
        "browser_version",
        "language",
        "user_agent",
        "referrer",
        "region",
        "city",
        "isp",
        "bot",
        "bot_kind",
        "subs",
        "external_id",
        "params",
        "platform_ids",
        "reasons",
        "location",
        "link",
        "scheme",
    ]
)


def slug(number: int) -> str:
    return f"00000000-0000-4000-8000-ab{number:010d}"


def row(number: int, **changes: Any) -> CampaignRow:
    return campaign_row(**{"id": number, "uuid": slug(number), "destination_url": DESTINATION} | changes)


ROWS = (
    row(1, sub_params={"sub2": "zone"}, cost_param="cost", click_id_param="visitor", click_cost=123_456_789),
    row(2**31 - 1, name='q"\\\u2028{x}&"', max_click_cost="999999", cost_param="price"),
    row(3, destination_url=None),
    row(4, status="paused", fallback_url="https://later.example/?c={clickid}&q={sub1}"),
    row(5, bot_action="block"),
    row(6, bot_action="fallback", fallback_url="https://bots.example/{sub1}"),
    row(7, account_id=2),
    row(8, status="deleted"),
    row(9, destination_url="https://shop.example/?" + "{sub1}" * 600),
)
ACCOUNTS = (AccountRow(id=1, version=1), AccountRow(id=2, version=1, status="suspended"))
TABLE, _ = built(raw_table(*ROWS, accounts=ACCOUNTS, salts={"2026-09-20": "cd" * 32, "2026-09-21": "ab" * 32}))
STORAGE: tuple[IpStorage, ...] = ("truncated", "full", "none")


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> dict[IpStorage, ClickCore]:
    folder = tmp_path_factory.mktemp("ip")
    write_mmdb(folder / "city.mmdb", {"203.0.113.0/24": EVIL_PLACE})
    (folder / "datacenter.txt").write_text("198.51.100.0/24\n")
    (folder / "crawler.txt").write_text("198.51.100.64/26\n")
    classifier = Classifier(UserAgents(), NetworkData(folder))
    reader = RequestReader(PROXIES)
    return {storage: ClickCore(classifier, ClickIds(RING), reader, storage) for storage in STORAGE}


_header_values = raw_values.map(lambda raw: re.sub(rb"[\x00\r\n]", b"", raw))
"""What llhttp lets through: anything but NUL, CR and LF."""
_forwarded = st.lists(
    st.sampled_from((b"203.0.113.77", b"198.51.100.70", b"198.51.100.7", b"2001:db8::77", b"unknown", b"127.0.0.9"))
).map(b", ".join)
_headers = st.lists(
    st.one_of(
        st.tuples(st.just(b"user-agent"), st.sampled_from(AGENTS) | _header_values.map(lambda raw: raw * 40)),
        st.tuples(st.just(b"x-forwarded-for"), _forwarded | _header_values),
        st.tuples(st.just(b"x-forwarded-proto"), st.sampled_from((b"https", b"HTTP", b"x")) | _header_values),
        st.tuples(st.just(b"referer"), _header_values.map(lambda raw: b"https://news.example/" + raw) | _header_values),
        st.tuples(st.just(b"accept-language"), st.sampled_from((b"de-AT", b"*")) | _header_values),
        st.tuples(st.sampled_from((b"purpose", b"sec-purpose", b"x-moz")), st.sampled_from((b"prefetch", b"x"))),
        st.tuples(st.sampled_from((b"cookie", b"x-custom")), _header_values),
    ),
    max_size=7,
)


@searched
@given(
    st.sampled_from(STORAGE),
    st.sampled_from(("GET", "HEAD")),
    st.sampled_from([row.id for row in ROWS]),
    queries,
    _headers,
    st.sampled_from(("127.0.0.1", "203.0.113.5", "::1", "")),
    st.sampled_from((NOON_MS, NOON_MS + 1, 0, 631_152_000_000, 2**31 * 1000, 253_370_764_799_999)),
)
@example("full", "GET", 9, b"sub1=" + b'"' * 1024 + b"&" + b"&".join(b"p%d=%s" % (n, b'"' * 700) for n in range(80)),
         [], "203.0.113.5", NOON_MS)  # fmt: skip
@example("full", "GET", 1, b"&".join(b"sub%d=%s" % (n, b'"' * 1024) for n in range(1, 21)) + b"&"
         + b"&".join(n + b"=" + b'"' * 1024 for n in (b"gclid", b"wbraid", b"gbraid", b"fbclid", b"ttclid", b"msclkid")),
         [(b"user-agent", b'"' * 1024), (b"referer", b'"' * 1024)], "203.0.113.5", NOON_MS)  # fmt: skip
@example("full", "GET", 1, b"", [(b"x-forwarded-for", b"203.0.113.77"), (b"x-forwarded-for", b"127.0.0.9")], "127.0.0.1",
         NOON_MS)  # fmt: skip
def test_any_request_is_one_event_that_ingest_stores(
    cores: dict[IpStorage, ClickCore], storage: IpStorage, method: str, number: int, query: bytes,
    pairs: list[tuple[bytes, bytes]], peer: str, now_ms: int,
) -> None:  # fmt: skip
    reported_ms = now_ms + 3_600_000 if len(pairs) == 3 and now_ms < NOON_MS else now_ms
    path = "/c/" + (slug(number) if len(query) % 2 else slug(number).upper())
    click = cores[storage].judge(TABLE, method, path, query, dict(pairs), pairs, peer, "http", now_ms, reported_ms)
    if number == 8:
        assert click is None
        return
    assert click is not None
    payload, _, _, labels = click
    assert len(payload) <= MAX_PAYLOAD
    stored = decode(STREAM, 1, events.CLICK, payload)
    assert isinstance(stored, ClickRow)
    event = orjson.loads(payload)
    assert ClickIds(RING).prove(event["id"]) == ClickIds(RING).prove(click_id_text(stored.click_id))
    proven = ClickIds(RING).prove(event["id"])
    assert (proven.time_ms, proven.campaign_id) == (now_ms, number), "never clamped"
    assert event["ts"] == reported_ms
    assert bool(event["flags"] & Flag.CLOCK_SUSPECT) == (reported_ms != now_ms)
    assert (event["mode"], event["class"], event["outcome"]) == labels
    assert event["class"] != TrafficClass.UNKNOWN
    assert (event["mode"] == ClickMode.HEAD) == (method == "HEAD" and event["mode"] != ClickMode.PREFETCH)
    assert event["details"]["scheme"] in ("http", "https")
    if storage == "none":
        assert event["ip"] == ""
    if storage != "full":
        kept = {"203.0.113.77": "203.0.113.0", "198.51.100.7": "198.51.100.0", "2001:db8::77": "2001:db8::"}
        assert event["ip"] not in kept
    assert bool(event["flags"] & Flag.SALT_DERIVED) == (now_ms // 86_400_000 != NOON_MS // 86_400_000)
    if storage == "full":
        forwarded = [value.decode("latin-1") for name, value in pairs if name == b"x-forwarded-for"]
        assert event["ip"] == PROXIES.visitor(peer, forwarded).text
    judge_sayings(event, query, dict(pairs))
    judge_target(click, event)


def judge_sayings(event: dict[str, Any], query: bytes, headers: dict[bytes, bytes]) -> None:
    """The event repeats what the request said, and nothing else."""
    campaign = TABLE.by_id[event["campaign"]]
    said = link_parameters(query, campaign.source)
    details = event["details"]
    assert (details["subs"], details["platform_ids"]) == (dict(said.subs), dict(said.platform_ids))
    assert details["external_id"] == said.external_id
    assert event["flags"] & said.flags == said.flags
    assert details["params"] == dict(said.others) or (
        details["params"] == {}
        and event["flags"] & Flag.TRUNCATED_PARAMETERS
        and len(orjson.dumps(said.others)) > 30_000
    )
    assert event["cost"] == (campaign.row.click_cost if said.cost is None else said.cost)
    assert event["cost_from"] == (0 if said.cost is None else 1)
    assert details["user_agent"] == header_text(headers.get(b"user-agent", b""))
    assert details["referrer"] == referrer(headers.get(b"referer", b""))[0]
    if event["country"] == "DE":
        assert (details["city"], details["region"]) == ('A "quoted"\\ city&x=1', "\x1b[31m\u2028/../")
    assert event.keys() == EXPECTED_FIELDS
    assert details.keys() == EXPECTED_DETAILS


def judge_target(click: Click, event: dict[str, Any]) -> None:
    """A redirect goes where the campaign says and nowhere else; every other answer names no place."""
    _, answer, location, _ = click
    if event["mode"] == ClickMode.PREFETCH:
        assert (answer is not None and answer.status, location) == (503, b"")
        return
    if answer is not None:
        assert (answer.status, location) == (410 if event["outcome"] == Outcome.SUSPENDED else 404, b"")
        assert event["outcome"] in (Outcome.NO_DESTINATION, Outcome.BLOCKED, Outcome.SUSPENDED)
        return
    assert re.fullmatch(rb"[!-~]+", location)
    target = ada_url.URL(location.decode())
    origin = {
        Outcome.REDIRECTED: "https://shop.example",
        Outcome.PAUSED: "https://later.example",
        Outcome.FALLBACK: "https://bots.example",
    }[event["outcome"]]
    assert target.origin.removesuffix(":8443") == origin
    assert event["details"]["location"] == location.decode()[:1024] or event["details"]["location"] == location.decode()
    if event["outcome"] != Outcome.REDIRECTED or event["campaign"] == 9:
        return
    assert target.pathname.count("/") == 2
    found = dict(pair.split("=") for pair in target.search.removeprefix("?").split("&"))
    assert list(found) == [*"ckpnitrlbaxu", "fixed"]
    assert (found["c"], found["k"], found["fixed"]) == (event["id"], str(event["campaign"]), "1")
    assert found["a"] == (str(event["asn"]) if event["asn"] else "")
