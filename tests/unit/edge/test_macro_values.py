"""The values of destination macros for one click. How they are written into a URL: ../test_macros.py."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from edge.classify import NetworkVerdict
from edge.macro_values import Destination
from edge.parse import link_parameters
from shared.macros import CLICK_MACROS, UNRESERVED_MACROS
from shared.money import NANO
from tests.unit.edge.builders import NOON_MS, agent_verdict, campaign, click_request, network_verdict

CAMPAIGN = campaign(click_cost=NANO // 4)


def values(
    *names: str, query: bytes = b"", cost: int = NANO // 4, network: NetworkVerdict | None = None
) -> dict[str, str]:
    """What stands in the URL for each macro, once the URL is read as a browser's server would read it."""
    template = Destination("https://h.example/?" + "&".join(f"v{n}={{{name}}}" for n, name in enumerate(names)))
    owner = campaign(click_cost=cost, name="Spring sale")
    location = template.location(
        "clk_x", owner, link_parameters(query, owner.source), agent_verdict(), network or network_verdict(),
        click_request(), NOON_MS,
    )  # fmt: skip
    found = parse_qs(urlsplit(location).query, keep_blank_values=True)
    return {name: found[f"v{n}"][0] for n, name in enumerate(names)}


def test_every_macro_has_a_value() -> None:
    query = "&".join(
        [f"sub{n}=s{n}" for n in range(1, 21)]
        + [f"{name}=x" for name in ("external_id", "gclid", "wbraid", "gbraid", "fbclid", "ttclid", "msclkid")]
    )
    found = values(*sorted(CLICK_MACROS), query=query.encode())
    assert found.keys() == CLICK_MACROS
    assert all(found.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clickid", "clk_x"),
        ("click_id", "clk_x"),
        ("campaign_id", "7"),
        ("campaign_name", "Spring sale"),
        ("sub_id", "A"),
        ("sub20", ""),
        ("country", "AT"),
        ("asn", "8447"),
        ("os_version", "15"),
        ("language", "de"),
        ("referrer_domain", "news.example"),
        ("cost", "0.25"),
        ("timestamp", str(NOON_MS // 1000)),
        ("utm_source", "mail"),
        ("param:color", "red & blue"),
        ("param:sub1", "A"),
        ("param:nothing", ""),
    ],
)
def test_macro_values(name: str, value: str) -> None:
    assert values(name, query=b"sub1=A&utm_source=mail&color=red+%26+blue") == {name: value}


def test_an_unknown_network_has_no_number() -> None:
    assert values("asn", network=network_verdict(asn=0)) == {"asn": ""}


@pytest.mark.parametrize(("cost", "text"), [(0, "0"), (NANO, "1"), (1, "0.000000001"), (123_456_000, "0.123456000")])
def test_a_cost_is_a_plain_decimal(cost: int, text: str) -> None:
    value = values("cost", cost=cost)["cost"]
    assert "e" not in value.lower()
    assert float(value) == float(text)


def test_the_links_cost_is_the_cost() -> None:
    template = Destination("https://h.example/?{cost}")
    owner = campaign(click_cost=NANO, cost_param="cost")
    given = link_parameters(b"cost=0.5", owner.source)
    location = template.location("clk_x", owner, given, agent_verdict(), network_verdict(), click_request(), NOON_MS)
    assert location == "https://h.example/?0.5"


@pytest.mark.parametrize("name", sorted(UNRESERVED_MACROS))
def test_what_is_written_as_it_is_needs_no_escape(name: str) -> None:
    for network in (network_verdict(), network_verdict(country="ZZ", asn=0), network_verdict(asn=(1 << 32) - 1)):
        value = values(name, query=b"sub1=%26", cost=(1 << 62) + 1, network=network)[name]
        assert re.fullmatch(r"[A-Za-z0-9_.~-]*", value)
