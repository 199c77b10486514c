"""Tracking links over HTTP against the real processes: every row of the link table (api.md section 1), every hostile
query (section 6), and what stands in the journal afterwards.

Left to others: postbacks (test_postbacks.py), Redis and restarts (test_routing.py, test_processes.py); malformed
HTTP itself belongs to the protocol's tests.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.campaigns import CampaignRow
from shared.events import Event
from shared.ids import click_id_bytes, click_id_time
from shared.traffic import ClickMode, Flag, Outcome, TrafficClass
from tests.integration.edge import rows
from tests.integration.edge.harness import BROWSER, Answer, Edge

BOT = "python-requests/2.32"
_serial = itertools.count()


class Click:
    """One request for a link, and the event it left: found by a parameter that no other request carries."""

    def __init__(self, edge: Edge, campaign: CampaignRow, query: str = "", method: str = "GET", **headers: str) -> None:
        mark = f"mark{next(_serial)}"
        self.answer: Answer = edge.get(f"/c/{campaign.uuid}?{query}&t={mark}", method, **headers)
        self.events: list[Event] = [event for event in edge.clicks() if event["details"]["params"].get("t") == mark]

    @property
    def event(self) -> Event:
        assert len(self.events) == 1
        return self.events[0]


def test_a_click_is_redirected_and_stands_in_the_journal(edge: Edge) -> None:
    click = Click(
        edge,
        rows.ACTIVE,
        "sub1=a%20b&zone=Z9&visitor=V1&gclid=G1&utm_source=mail&cost=0.25",
        Accept_Language="de-AT,de;q=0.9",
        Referer="https://news.example/page?private=1",
    )
    assert click.answer.status == 302
    assert click.answer.header("cache-control") == "no-store"
    assert click.answer.header("server") is None
    assert click.answer.body == b""
    query = parse_qs(urlsplit(click.answer.location).query)
    assert query["sub"] == ["a b"]
    event = click.event
    assert query["click"] == [event["id"]]
    assert edge.click_ids().prove(event["id"]).campaign_id == rows.ACTIVE.id
    assert click_id_time(click_id_bytes(event["id"])) == event["ts"]
    assert (event["account"], event["campaign"]) == (1, 1)
    assert (event["mode"], event["outcome"], event["class"]) == (ClickMode.CLICK, Outcome.REDIRECTED, TrafficClass.REAL)
    assert (event["cost"], event["cost_from"]) == (250_000_000, 1)
    assert (event["ip"], event["country"]) == ("127.0.0.0", "ZZ")
    assert (event["device"], event["os"], event["browser"]) == ("desktop", "Windows", "Chrome")
    details = event["details"]
    assert details["subs"] == {"sub1": "a b", "sub2": "Z9"}
    assert details["external_id"] == "V1"
    assert details["platform_ids"] == {"gclid": "G1"}
    assert details["params"]["utm_source"] == "mail"
    assert details["language"] == "de"
    assert details["referrer"] == "https://news.example/page"
    assert details["user_agent"] == BROWSER
    assert details["location"] == click.answer.location
    assert details["link"] == ["campaign_active", "destination"]


@pytest.mark.parametrize(
    ("campaign", "status", "location", "outcome"),
    [
        (rows.PAUSED, 302, "https://campaign.example/fallback?from=2", Outcome.PAUSED),
        (rows.INACTIVE, 404, None, Outcome.INACTIVE),
        (rows.NOWHERE, 404, None, Outcome.NO_DESTINATION),
        (rows.OF_SUSPENDED, 410, None, Outcome.SUSPENDED),
        (rows.OF_SUSPENDED_WITH_FALLBACK, 302, rows.ACCOUNT_FALLBACK, Outcome.SUSPENDED),
    ],
)
def test_links_that_do_not_redirect_to_their_destination_are_recorded_with_the_outcome(
    edge: Edge, campaign: CampaignRow, status: int, location: str | None, outcome: Outcome
) -> None:
    click = Click(edge, campaign)
    assert (click.answer.status, click.answer.header("location")) == (status, location)
    assert click.answer.header("cache-control") == "no-store"
    assert click.event["outcome"] == outcome
    assert click.event["details"]["location"] == (location or "")


@pytest.mark.parametrize("path", [f"/c/{rows.DELETED.uuid}", "/c/nothing", "/c/", f"/c/{rows.ACTIVE.uuid}/", "/c/%00"])
def test_unknown_and_deleted_links_give_the_same_answer_and_no_event(edge: Edge, path: str) -> None:
    before = len(edge.clicks())
    unknown, found = edge.get("/c/00000000-dead-4000-8000-000000000000"), edge.get(path)
    assert unknown.status == found.status == 404
    assert unknown.body == found.body
    assert {**unknown.headers, "date": []} == {**found.headers, "date": []}
    assert len(edge.clicks()) == before


def test_a_slug_is_found_in_capitals_too(edge: Edge) -> None:
    campaign = rows.row(1)
    assert edge.get(f"/c/{campaign.uuid.upper()}").status == 302


@pytest.mark.parametrize(
    ("campaign", "agent", "status", "outcome"),
    [
        (rows.BLOCKS_BOTS, BOT, 404, Outcome.BLOCKED),
        (rows.BLOCKS_BOTS, BROWSER, 302, Outcome.REDIRECTED),
        (rows.DIVERTS_BOTS, BOT, 302, Outcome.FALLBACK),
        (rows.ACTIVE, BOT, 302, Outcome.REDIRECTED),
    ],
)
def test_bots_are_sent_where_the_campaign_says(
    edge: Edge, campaign: CampaignRow, agent: str, status: int, outcome: Outcome
) -> None:
    click = Click(edge, campaign, User_Agent=agent)
    assert click.answer.status == status
    assert click.event["outcome"] == outcome
    assert click.event["class"] == (TrafficClass.BOT if agent == BOT else TrafficClass.REAL)
    if outcome == Outcome.FALLBACK:
        assert click.answer.location == "https://campaign.example/fallback?from=9"


def test_head_gets_the_same_headers_and_is_recorded_as_head(edge: Edge) -> None:
    get, head = Click(edge, rows.ACTIVE), Click(edge, rows.ACTIVE, method="HEAD")
    assert head.answer.status == 302
    assert head.answer.headers.keys() == get.answer.headers.keys()
    assert head.answer.body == b""
    assert head.event["mode"] == ClickMode.HEAD
    assert head.event["id"] in head.answer.location


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sec_Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X_Moz", "prefetch"),
        ("X_Purpose", "preview"),
    ],
)
def test_a_prefetch_is_put_off_and_recorded(edge: Edge, header: str, value: str) -> None:
    click = Click(edge, rows.ACTIVE, **{header: value})
    assert click.answer.status == 503
    assert click.answer.header("cache-control") == "no-store"
    assert click.answer.header("location") is None
    assert click.event["mode"] == ClickMode.PREFETCH
    assert click.event["details"]["location"] == ""


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 204), ("POST", 405), ("PUT", 405), ("DELETE", 405), ("PATCH", 405), ("TRACE", 405)],
)
def test_other_verbs_are_told_which_are_allowed_and_leave_no_event(edge: Edge, method: str, status: int) -> None:
    click = Click(edge, rows.ACTIVE, method=method)
    assert click.answer.status == status
    assert click.answer.header("allow") == "GET, HEAD, OPTIONS"
    assert click.events == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_host_that_is_not_ours_gets_404_and_no_event(edge: Edge, host: str) -> None:
    click = Click(edge, rows.ACTIVE, Host=host)
    assert click.answer.status == 404
    assert click.events == []
    assert edge.get("/robots.txt", Host=host).status == 404


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:99", "shop.localhost"])
def test_every_loopback_name_is_ours_on_any_port(edge: Edge, host: str) -> None:
    assert edge.get(f"/c/{rows.ACTIVE.uuid}", Host=host).status == 302


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("%zz", "%zz"),
        ("%ff", "%FF"),
        ("%c0%ae%c0%ae", "%C0%AE%C0%AE"),
        ("%00", "%00"),
        ("%0d%0aSet-Cookie:%20a=b", "%0D%0ASet-Cookie: a=b"),
        ("%0aLocation:%20https://evil.example", "%0ALocation: https://evil.example"),
        ("%1b[31m", "%1B[31m"),
        ("a;b", "a;b"),
        ("%E2%82%AC", "€"),
        ("%F0%9F%98%80", "\U0001f600"),
        ("{clickid}", "{clickid}"),
        ("${jndi:ldap://x}", "${jndi:ldap://x}"),
    ],
)
def test_hostile_values_are_kept_escaped_and_answered(edge: Edge, raw: str, kept: str) -> None:
    click = Click(edge, rows.ACTIVE, f"sub1={raw}")
    assert click.answer.status == 302
    assert click.event["details"]["subs"]["sub1"] == kept
    assert click.answer.headers.keys() == {"date", "location", "cache-control", "content-length"}
    parts = urlsplit(click.answer.location)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "shop.example", "/item")
    assert parse_qs(parts.query)["click"] == [click.event["id"]]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("..", "/_/x"),
        (".", "/_/x"),
        ("%2e%2e", "/_/x"),
        ("%252e%252e", "/%252e%252e/x"),
        ("%2F..%2F", "/%2F..%2F/x"),
        ("%40evil.example", "/%40evil.example/x"),
        ("a%26b%23c", "/a%26b%23c/x"),
        ("%5C..", "/%5C../x"),
    ],
)
def test_a_value_in_the_path_stays_one_segment(edge: Edge, value: str, path: str) -> None:
    click = Click(edge, rows.PATH_MACRO, f"sub1={value}&sub2=%26fixed%3D2")
    parts = urlsplit(click.answer.location)
    assert (parts.netloc, parts.path, parts.fragment) == ("shop.example", path, "")
    assert parse_qs(parts.query)["fixed"] == ["1"]
    assert parse_qs(parts.query)["q"] == ["&fixed=2"]


def test_a_second_question_mark_and_empty_pieces_are_data(edge: Edge) -> None:
    click = Click(edge, rows.ACTIVE, "&&=x&sub1=a?b=c&&")
    assert click.event["details"]["subs"] == {"sub1": "a?b=c"}


def test_more_than_a_hundred_parameters_are_cut_and_flagged(edge: Edge) -> None:
    many = "&".join(f"p{number}={number}" for number in range(150))
    answer = edge.get(f"/c/{rows.ACTIVE.uuid}?t=many&{many}")
    (event,) = (event for event in edge.clicks() if event["details"]["params"].get("t") == "many")
    assert answer.status == 302
    assert event["flags"] & Flag.TRUNCATED_PARAMETERS
    assert len(event["details"]["params"]) == 100


def test_a_cost_above_the_limit_is_ignored_and_flagged(edge: Edge) -> None:
    click = Click(edge, rows.ACTIVE, "cost=100.01")
    assert (click.event["cost"], click.event["cost_from"]) == (500_000_000, 0)
    assert click.event["flags"] & Flag.COST_IGNORED


def test_the_first_of_a_repeated_parameter_wins(edge: Edge) -> None:
    click = Click(edge, rows.ACTIVE, "sub1=first&sub1=second")
    assert click.event["details"]["subs"] == {"sub1": "first"}


@pytest.mark.parametrize(
    ("agent", "kept"),
    [
        ("", ""),
        ("x" * 7000, "x" * 1024),
        ("Mozilla/5.0 <script>alert(1)</script>", "Mozilla/5.0 <script>alert(1)</script>"),
        ("Mozilla/5.0 \xff", "Mozilla/5.0 %FF"),
    ],
)
def test_any_user_agent_is_kept_printable_and_short(edge: Edge, agent: str, kept: str) -> None:
    click = Click(edge, rows.ACTIVE, User_Agent=agent)
    assert click.answer.status == 302
    assert click.event["details"]["user_agent"] == kept


@pytest.mark.parametrize(
    ("forwarded", "ip"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("198.51.100.1, 203.0.113.77", "203.0.113.0"),
        ("203.0.113.77:4711", "203.0.113.0"),
        ("2001:db8:1:2::3", "2001:db8:1::"),
        ("garbage", "127.0.0.0"),
        ("", "127.0.0.0"),
    ],
)
def test_a_trusted_proxy_names_the_visitor(edge: Edge, forwarded: str, ip: str) -> None:
    click = Click(edge, rows.ACTIVE, X_Forwarded_For=forwarded, X_Forwarded_Proto="https")
    assert click.event["ip"] == ip
    assert click.event["details"]["scheme"] == "https"
    assert "203.0.113.77" not in str(click.event)


@pytest.mark.parametrize("header", ["X_Real_IP", "CF_Connecting_IP", "Forwarded"])
def test_other_headers_name_nobody(edge: Edge, header: str) -> None:
    click = Click(edge, rows.ACTIVE, **{header: "203.0.113.77"})
    assert click.event["ip"] == "127.0.0.0"


def test_the_same_visitor_has_the_same_keys_and_another_address_others(edge: Edge) -> None:
    first, again, other = (
        Click(edge, rows.ACTIVE, X_Forwarded_For=ip) for ip in ("203.0.113.1", "203.0.113.1", "203.0.113.2")
    )
    names = ("visitor", "visitor_prev", "address", "address_prev")
    assert all(first.event[name] == again.event[name] != other.event[name] for name in names)
    assert len({first.event[name] for name in names}) == 4
    assert not first.event["flags"] & Flag.SALT_DERIVED


def test_many_clicks_at_once_get_their_own_ids_and_are_all_in_the_journal(edge: Edge) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: edge.get(f"/c/{rows.ACTIVE.uuid}?t=burst"), range(200)))
    answered = {parse_qs(urlsplit(answer.location).query)["click"][0] for answer in answers}
    stored = [event["id"] for event in edge.clicks() if event["details"]["params"].get("t") == "burst"]
    assert len(stored) == len(answered) == 200
    assert set(stored) == answered


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/", 200, b"milepost\n"), ("/robots.txt", 200, b"User-agent: *\nDisallow: /\n"), ("/favicon.ico", 204, b""),
     ("/elsewhere", 404, b"Not found\n"), ("/c", 404, b"Not found\n"), ("/metrics", 404, b"Not found\n")],
)  # fmt: skip
def test_other_paths_answer_plainly_and_leave_no_event(edge: Edge, path: str, status: int, text: bytes) -> None:
    before = len(edge.events())
    answer = edge.get(path)
    assert (answer.status, answer.body) == (status, text)
    assert edge.get(path, "HEAD").status == status
    assert len(edge.events()) == before


def test_no_request_of_all_these_was_an_error_of_the_program(edge: Edge) -> None:
    text = edge.admin("/metrics").body.decode()
    assert "milepost_edge_errors_total 0.0\n" in text
    assert "Traceback" not in edge.log()
