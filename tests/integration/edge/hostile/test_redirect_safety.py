"""What a visitor writes into a link cannot choose where anybody is sent, nor add a header (api.md section 6, security
X1): every macro in every place of a destination, judged as browsers read URLs.

Values in one slot, byte for byte: test_clicks.py. Random values: the fuzz tests. What is kept: test_link_input.py.
"""

from urllib.parse import parse_qsl, quote_from_bytes

import ada_url
import pytest

from shared.campaigns import CampaignRow
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile import campaigns
from tests.integration.edge.hostile.exchange import ask_once, recording, request
from tests.integration.edge.raw import RawAnswer

HEADERS = {"date", "location", "cache-control", "content-length"}
VALUES = [
    pytest.param(b"&fixed=2&click=evil", id="further parameters"),
    pytest.param(b"#fragment", id="fragment"),
    pytest.param(b"?fixed=2", id="query"),
    pytest.param(b"/../../admin", id="dots and slashes"),
    pytest.param(b"..", id="two dots"),
    pytest.param(b".", id="one dot"),
    pytest.param(b"%2e%2e", id="escaped dots"),
    pytest.param(b".%2E", id="half escaped dots"),
    pytest.param(b"..;x=1", id="dots and a path parameter"),
    pytest.param(b"@evil.example/", id="userinfo"),
    pytest.param(b"//evil.example/", id="two slashes"),
    pytest.param(b"\\\\evil.example\\", id="two backslashes"),
    pytest.param(b"/\\evil.example", id="slash and backslash"),
    pytest.param(b"https://evil.example/", id="another url"),
    pytest.param(b"javascript:alert(1)", id="javascript"),
    pytest.param(b"\r\nLocation: https://evil.example/", id="CRLF and Location"),
    pytest.param(b"\nSet-Cookie: a=b", id="LF and a cookie"),
    pytest.param(b"\rSet-Cookie: a=b", id="CR and a cookie"),
    pytest.param(b"\r\n\r\n<script>alert(1)</script>", id="CRLF twice and a body"),
    pytest.param(b"\xe5\x98\x8a\xe5\x98\x8dSet-Cookie: a=b", id="characters that end in CR and LF"),
    pytest.param(b"\xc0\x8d\xc0\x8a", id="overlong CRLF"),
    pytest.param(b"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85", id="line ends of Unicode"),
    pytest.param(b"\x00\x01\x1f\x7f", id="controls"),
    pytest.param(b"\t\x0b\x0c ", id="blanks"),
    pytest.param(b"\xff\xfe\xed\xa0\x80", id="no UTF-8 and a surrogate"),
    pytest.param(b"\xef\xbc\x8f\xef\xbc\x8f\xe2\x84\x80", id="characters that normalise to slashes"),
    pytest.param(b"%zz%%%1", id="bad escapes"),
    pytest.param(b"{clickid}{sub1}{{}}${jndi:ldap://x}", id="macros"),
    pytest.param(b"\"'<>`|^ ", id="unsafe in markup"),
    pytest.param(b"\xf0\x9f\x98\x80" * 30, id="many bytes for a character"),
]
"""As the visitor means them: before they are escaped for the link."""


def link(campaign: CampaignRow, *fields: tuple[str, bytes]) -> bytes:
    query = b"&".join(name.encode() + b"=" + quote_from_bytes(value, safe=b"").encode() for name, value in fields)
    return f"/c/{campaign.uuid}?".encode() + query


def assert_leads_to_the_shop(answer: RawAnswer, segments: int) -> ada_url.URL:
    """The Location, as browsers read it; host, depth and fixed parameters are the campaign's."""
    assert answer.status == 302
    assert answer.headers.keys() == HEADERS
    assert all(len(values) == 1 for values in answer.headers.values())
    assert answer.body == b""
    assert answer.location.isascii()
    assert answer.location.isprintable()
    assert " " not in answer.location
    url = ada_url.URL(answer.location)
    assert (url.protocol, url.host, url.username, url.password) == ("https:", "shop.example", "", "")
    assert url.pathname.count("/") == segments
    return url


def parameters(url: ada_url.URL) -> list[tuple[str, str]]:
    """Names and values of the query; bytes that are no UTF-8 are kept apart from one another."""
    return parse_qsl(url.search.removeprefix("?"), keep_blank_values=True, errors="surrogateescape")


@pytest.mark.parametrize("value", VALUES)
def test_no_value_leaves_its_slot(edge: Edge, value: bytes) -> None:
    target = link(
        campaigns.EVERY_SLOT,
        *((f"sub{number}", value) for number in range(1, 5)),
        ("utm_source", value),
        ("x", value),
        ("external_id", value),
        ("gclid", value),
    )
    with recording(edge) as recorded:
        answer = ask_once(edge, request(target))
    url = assert_leads_to_the_shop(answer, segments=3)
    pairs = parameters(url)
    assert [name for name, _ in pairs] == ["click", "s", "r", "u", "p", "b", "l", "n", "e", "g", "fixed"]
    read = dict(pairs)
    assert (read["click"], read["fixed"]) == (recorded.clicks[0]["id"], "1")
    assert len({read[name] for name in ("s", "u", "p", "e", "g")}) == 1
    assert recorded.clicks[0]["details"]["location"] == answer.location


@pytest.mark.parametrize("value", VALUES)
def test_a_value_behind_the_host_stays_behind_it(edge: Edge, value: bytes) -> None:
    assert_leads_to_the_shop(ask_once(edge, request(link(campaigns.AFTER_HOST, ("sub1", value)))), segments=1)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_may_be_a_parameter_name_and_no_more(edge: Edge, value: bytes) -> None:
    answer = ask_once(edge, request(link(campaigns.QUERY_AT_ONCE, ("sub1", value), ("sub2", value))))
    url = assert_leads_to_the_shop(answer, segments=1)
    assert len(parameters(url)) == 2
    assert parameters(url)[-1] == ("fixed", "1")


@pytest.mark.parametrize(
    "header",
    [
        b"Referer: https://evil.example@shop.example/\\x",
        b"Referer: https://evil.example%0d%0aSet-Cookie:a=b/x",
        b"Referer: https://evil.example&fixed=2/",
        b"Referer: https://evil.example#x",
        b"Referer: https://[::1]&fixed=2/",
        b"Referer: //evil.example/",
        b"Referer: javascript:alert(1)",
        b"Referer: \xff\xfe",
        b"Referer: https://" + b"a" * 4_000 + b"/",
        b"User-Agent: Mozilla/5.0 (X; rv:1) Gecko/1 Firefox/&fixed=2",
        b"User-Agent: &fixed=2#\\",
        b"Accept-Language: de&fixed=2",
        b"Accept-Language: \xff, #",
        b"X-Forwarded-For: 203.0.113.7&fixed=2",
        b"X-Forwarded-Proto: javascript",
        b"X-Forwarded-Host: evil.example",
        b"Forwarded: host=evil.example;proto=javascript",
        b"X-Original-URL: /c/unknown",
        b"X-Rewrite-URL: /c/unknown",
        b"Origin: https://evil.example",
    ],
    ids=lambda header: header[:40].decode("latin-1"),
)
def test_no_header_chooses_the_target(edge: Edge, header: bytes) -> None:
    answer = ask_once(edge, request(link(campaigns.EVERY_SLOT, ("sub1", b"a"), ("sub2", b"b")), header))
    url = assert_leads_to_the_shop(answer, segments=3)
    assert [value for name, value in parameters(url) if name == "fixed"] == ["1"]


@pytest.mark.parametrize(
    "name",
    ["url", "u", "redirect", "redirect_url", "destination", "destination_url", "dest", "to", "next", "return", "r",
     "target", "lp", "fallback", "fallback_url", "campaign_id", "status", "affiliate", "clickid", "click_id"],
)  # fmt: skip
def test_no_parameter_names_another_target(edge: Edge, name: str) -> None:
    for campaign in (rows.ACTIVE, rows.PAUSED, rows.NOWHERE):
        plain = ask_once(edge, request(link(campaign)))
        answer = ask_once(edge, request(link(campaign, (name, b"https://evil.example/"))))
        assert answer.status == plain.status
        if answer.status == 302:
            assert ada_url.URL(answer.location).host == ada_url.URL(plain.location).host
            assert "evil" not in answer.location


def test_a_click_id_that_the_visitor_sends_is_never_ours(edge: Edge) -> None:
    """Security X11."""
    theirs = edge.click_ids().issue(rows.ACTIVE.id, 1_790_000_000_000)
    with recording(edge) as recorded:
        answer = ask_once(edge, request(link(rows.ACTIVE, ("clickid", theirs.encode()), ("click_id", theirs.encode()))))
    assert theirs not in answer.location
    assert recorded.clicks[0]["id"] != theirs


def test_a_fallback_takes_no_value_of_the_visitor_for_its_host(edge: Edge) -> None:
    answer = ask_once(edge, request(link(rows.PAUSED, ("campaign_id", b"@evil.example/"))))
    assert answer.location == "https://campaign.example/fallback?from=2"
