"""Covers edge.classify.rules: every row of the table, and class, fraud type and score that follow. Where the signals
come from: test_user_agent.py and test_network.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.classify.rules import RULES, judge
from edge.classify.signals import (
    BOT_KINDS,
    CATEGORY_NAMES,
    CRAWLER,
    DATACENTER,
    DECLARED_KINDS,
    EXEMPT_KINDS,
    RELAY,
    RESIDENTIAL,
    TOR,
    VPN,
    Signals,
)
from shared.traffic import Flag, FraudType, TrafficClass
from tests.unit.classify.builders import signals

REAL, BOT, MASKED = int(TrafficClass.REAL), int(TrafficClass.BOT), int(TrafficClass.VPN)


def test_person_at_home_is_real_without_any_reason() -> None:
    verdict = judge(signals())
    assert (verdict.traffic_class, verdict.fraud_type) == (REAL, int(FraudType.NONE))
    assert (verdict.flags, verdict.score, verdict.reasons) == (0, 0, ())
    assert not verdict.bot_action_exempt


@pytest.mark.parametrize("kind", BOT_KINDS)
def test_every_kind_of_bot_is_a_bot(kind: str) -> None:
    verdict = judge(signals(bot_kind=kind))
    assert (verdict.traffic_class, verdict.fraud_type) == (BOT, int(FraudType.BOT))
    assert verdict.flags & Flag.BOT
    assert verdict.reasons == ((f"{kind}_agent", 100),)
    assert bool(verdict.flags & Flag.PREVIEW) == (kind == "preview")


@pytest.mark.parametrize(
    ("kind", "traffic_class", "fraud_type", "flags", "reason"),
    [
        (RESIDENTIAL, REAL, FraudType.NONE, Flag.ALLOW_LISTED, ("allow_listed_address", 0)),
        (RELAY, REAL, FraudType.NONE, Flag.RELAY, ("relay_address", 0)),
        (TOR, MASKED, FraudType.VPN, Flag.VPN | Flag.TOR, ("tor_address", 60)),
        (CRAWLER, REAL, FraudType.NONE, Flag.CRAWLER, ("crawler_address", 0)),
        (VPN, MASKED, FraudType.VPN, Flag.VPN, ("vpn_address", 50)),
        (DATACENTER, MASKED, FraudType.DATACENTER, Flag.VPN | Flag.DATACENTER, ("datacenter_address", 50)),
    ],
    ids=list(CATEGORY_NAMES.values()),
)
def test_address_of_a_visitor_who_is_no_bot(
    kind: int, traffic_class: int, fraud_type: FraudType, flags: Flag, reason: tuple[str, int]
) -> None:
    verdict = judge(signals(kind=kind, categories=kind))
    assert (verdict.traffic_class, verdict.fraud_type, verdict.flags) == (traffic_class, fraud_type, flags)
    assert verdict.reasons == (reason,)
    assert verdict.score == reason[1]


def test_relay_inside_a_hosting_range_is_a_person_and_says_what_was_overruled() -> None:
    verdict = judge(signals(kind=RELAY, categories=RELAY | DATACENTER | VPN))
    assert verdict.traffic_class == REAL
    assert not verdict.flags & (Flag.VPN | Flag.DATACENTER)
    assert verdict.reasons == (("relay_address", 0), ("also_listed_vpn", 0), ("also_listed_datacenter", 0))


def test_bot_in_a_datacenter_is_a_bot_and_keeps_both_reasons() -> None:
    verdict = judge(signals(bot_kind="library", kind=DATACENTER, categories=DATACENTER))
    assert (verdict.traffic_class, verdict.fraud_type) == (BOT, int(FraudType.BOT))
    assert verdict.flags & Flag.DATACENTER
    assert not verdict.flags & Flag.VPN, "vpn is said of visitors who are no bots"
    assert verdict.reasons == (("library_agent", 100), ("datacenter_address", 50))
    assert verdict.score == 100


@pytest.mark.parametrize("kind", BOT_KINDS)
def test_crawler_in_a_published_range_is_verified_if_it_says_who_it_is(kind: str) -> None:
    verdict = judge(signals(bot_kind=kind, kind=CRAWLER, categories=CRAWLER | DATACENTER, publishes_ranges=True))
    assert bool(verdict.flags & Flag.VERIFIED) == (kind in DECLARED_KINDS)
    assert ("verified_crawler" in dict(verdict.reasons)) == (kind in DECLARED_KINDS)
    assert verdict.traffic_class == BOT
    assert verdict.bot_action_exempt == (kind in EXEMPT_KINDS)
    assert not verdict.flags & Flag.SPOOFED


@pytest.mark.parametrize(
    ("publishes", "known", "categories", "spoofed"),
    [
        pytest.param(True, True, DATACENTER, True, id="off the ranges"),
        pytest.param(True, True, CRAWLER, False, id="in the ranges"),
        pytest.param(True, False, DATACENTER, False, id="no list loaded"),
        pytest.param(False, True, DATACENTER, False, id="operator publishes none"),
    ],
)
def test_spoofed_crawler(publishes: bool, known: bool, categories: int, spoofed: bool) -> None:
    verdict = judge(
        signals(
            bot_kind="search_engine",
            publishes_ranges=publishes,
            crawler_ranges_known=known,
            kind=categories,
            categories=categories,
        )
    )
    assert bool(verdict.flags & Flag.SPOOFED) == spoofed
    assert ("spoofed_crawler" in dict(verdict.reasons)) == spoofed
    assert verdict.traffic_class == BOT
    assert verdict.bot_action_exempt == (categories == CRAWLER)


def test_unverified_search_engine_is_not_exempt_from_bot_action() -> None:
    assert not judge(signals(bot_kind="search_engine")).bot_action_exempt


def test_prefetch_and_missing_country_are_noted_without_points() -> None:
    verdict = judge(signals(prefetch=True, has_country=False))
    assert verdict.reasons == (("prefetch", 0), ("no_country", 0))
    assert (verdict.traffic_class, verdict.flags, verdict.score) == (REAL, int(Flag.NO_GEO), 0)


def test_codes_are_unique() -> None:
    codes = [rule.code for rule in RULES]
    assert len(codes) == len(set(codes))


def test_every_rule_can_fire() -> None:
    fired = set()
    for kind in ("", *BOT_KINDS):
        for category in (0, *CATEGORY_NAMES):
            for also in (0, *CATEGORY_NAMES):
                drawn = signals(
                    bot_kind=kind, publishes_ranges=True, kind=category, categories=category | also,
                    prefetch=True, has_country=False,
                )  # fmt: skip
                fired |= {code for code, _ in judge(drawn).reasons}
    assert fired == {rule.code for rule in RULES}


@given(
    st.builds(
        Signals,
        bot_kind=st.sampled_from(("", *BOT_KINDS)),
        publishes_ranges=st.booleans(),
        kind=st.sampled_from((0, *CATEGORY_NAMES)),
        categories=st.integers(0, 63),
        has_country=st.booleans(),
        crawler_ranges_known=st.booleans(),
        prefetch=st.booleans(),
    )
)
def test_class_fraud_type_flags_and_score_never_contradict_each_other(drawn: Signals) -> None:
    verdict = judge(drawn)
    is_bot, is_vpn = bool(verdict.flags & Flag.BOT), bool(verdict.flags & Flag.VPN)
    assert not (is_bot and is_vpn)
    assert verdict.traffic_class == (BOT if is_bot else MASKED if is_vpn else REAL)
    assert (verdict.fraud_type == FraudType.NONE) == (verdict.traffic_class == REAL)
    assert verdict.score == min(100, sum(points for _, points in verdict.reasons))
    assert (verdict.score >= 50) == (verdict.traffic_class != REAL) or drawn.publishes_ranges
    assert not verdict.bot_action_exempt or verdict.flags & Flag.VERIFIED
