"""Covers shared.traffic: the numbers that are stored and their names. What decides them: test_rules.py."""

import pytest

from shared.traffic import (
    CLASS_NAMES,
    FRAUD_NAMES,
    MODE_NAMES,
    OUTCOME_NAMES,
    ClickMode,
    Flag,
    FraudType,
    Outcome,
    TrafficClass,
    flag_names,
    status_name,
)


def test_stored_numbers_never_change() -> None:
    assert {m.name: int(m) for m in TrafficClass} == {"UNKNOWN": 0, "REAL": 1, "BOT": 2, "VPN": 3}
    assert {m.name: int(m) for m in FraudType} == {
        "NONE": 0, "BOT": 1, "DATACENTER": 2, "VPN": 3, "RAPID_FIRE": 4, "DUPLICATE": 5, "CLICK_FARM": 6,
    }  # fmt: skip
    assert {m.name: int(m) for m in Outcome} == {
        "REDIRECTED": 1, "FALLBACK": 2, "PAUSED": 3, "INACTIVE": 4, "CAPPED": 5, "NO_DESTINATION": 6,
        "SUSPENDED": 7, "BLOCKED": 8,
    }  # fmt: skip
    assert {m.name: int(m) for m in ClickMode} == {"CLICK": 1, "HEAD": 2, "PREFETCH": 3}
    assert [(m.name, m.bit_length() - 1) for m in Flag] == [
        ("BOT", 0), ("VPN", 1), ("RELAY", 2), ("TOR", 3), ("DATACENTER", 4), ("CRAWLER", 5), ("PREVIEW", 6),
        ("VERIFIED", 7), ("SUSPICIOUS", 8), ("TRUNCATED_PARAMETERS", 9), ("COST_IGNORED", 10), ("SALT_DERIVED", 11),
        ("NO_GEO", 12), ("SPOOFED", 13), ("ALLOW_LISTED", 14), ("CLOCK_SUSPECT", 15),
    ]  # fmt: skip


def test_names_are_the_lower_case_words_of_the_api() -> None:
    assert CLASS_NAMES[int(TrafficClass.REAL)] == "real"
    assert FRAUD_NAMES[int(FraudType.RAPID_FIRE)] == "rapid_fire"
    assert OUTCOME_NAMES[int(Outcome.NO_DESTINATION)] == "no_destination"
    assert MODE_NAMES[int(ClickMode.PREFETCH)] == "prefetch"


@pytest.mark.parametrize("traffic_class", [TrafficClass.REAL, TrafficClass.BOT, TrafficClass.VPN])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_status_is_the_class_unless_the_campaign_turned_the_click_away(
    traffic_class: TrafficClass, outcome: Outcome
) -> None:
    turned_away = outcome in (Outcome.FALLBACK, Outcome.BLOCKED)
    expected = "cloaked" if turned_away else traffic_class.name.lower()
    assert status_name(int(traffic_class), int(outcome)) == expected


def test_flag_names_follow_the_bits_and_pass_over_unknown_ones() -> None:
    assert flag_names(0) == ()
    assert flag_names(Flag.BOT | Flag.NO_GEO | 1 << 60) == ("bot", "no_geo")
