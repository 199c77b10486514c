"""Visitor and address keys: what makes them differ, what leaves them equal, how midnight is bridged."""

import pytest

from edge.salts import DAY_MS
from edge.visitor import KeyMaker, VisitorKeys
from shared.ids import digest_key
from tests.unit.edge.builders import address, salts

DAY = 20_000
SALTS = salts(d2024_10_03=b"a" * 32, d2024_10_04=b"b" * 32, d2024_10_05=b"c" * 32)


def keys(
    maker: KeyMaker | None = None, *, day: int = DAY, ip: str = "203.0.113.77", agent: bytes = b"Agent/1",
    language: bytes = b"de", campaign: bytes = b"7",
) -> VisitorKeys:  # fmt: skip
    return (maker or KeyMaker()).keys(SALTS, day * DAY_MS + 5, address(ip), agent, language, campaign)


def test_the_keys_are_keyed_digests_of_the_contract() -> None:
    found = keys()
    place = bytes([203, 0, 113, 77])
    visitor = (b"Agent/1", b"de", b"7", place)
    expected = (
        digest_key(b"b" * 32, *visitor),
        digest_key(b"a" * 32, *visitor),
        digest_key(b"b" * 32, place),
        digest_key(b"a" * 32, place),
    )
    assert tuple(key.decode() for key in found[0]) == expected
    assert not found[1]


def test_yesterdays_key_is_todays_previous_one() -> None:
    yesterday, today = keys(day=DAY)[0], keys(day=DAY + 1)[0]
    assert (today[1], today[3]) == (yesterday[0], yesterday[2])
    assert today[0] != yesterday[0]


def test_one_maker_follows_the_day() -> None:
    maker = KeyMaker()
    assert keys(maker) == keys()
    assert keys(maker, day=DAY + 1) == keys(day=DAY + 1)
    assert keys(maker) == keys()


@pytest.mark.parametrize(
    "change", [{"ip": "203.0.113.78"}, {"agent": b"Agent/2"}, {"language": b"en"}, {"campaign": b"8"}]
)
def test_another_address_agent_language_or_campaign_is_another_visitor(change: dict[str, str]) -> None:
    assert keys(**change)[0][0] != keys()[0][0]  # type: ignore[arg-type]


def test_parts_do_not_run_into_each_other() -> None:
    assert keys(agent=b"ab", language=b"c")[0][0] != keys(agent=b"a", language=b"bc")[0][0]


def test_an_ipv6_visitor_is_a_whole_64() -> None:
    assert keys(ip="2001:db8:1:2::1") == keys(ip="2001:db8:1:2:ffff::9")
    assert keys(ip="2001:db8:1:2::1") != keys(ip="2001:db8:1:3::1")


def test_a_derived_salt_is_told() -> None:
    assert keys(day=DAY + 5)[1]
