"""Covers edge.classify.Classifier: agent, address and rules put together on real files. Each part alone: the other
files of this folder."""

from pathlib import Path

import pytest

from edge.classify import Classifier
from edge.classify.network import NetworkData
from edge.classify.user_agent import UserAgents
from shared.traffic import Flag, FraudType, TrafficClass
from tests.unit.classify.builders import NESTED_BERLIN, address, write_mmdb

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_mmdb(tmp_path / "city.mmdb", {"203.0.113.0/24": NESTED_BERLIN})
    (tmp_path / "datacenter.txt").write_text("203.0.113.128/25\n198.51.100.0/24\n")
    (tmp_path / "crawler.txt").write_text("198.51.100.64/26\n")
    return tmp_path


def test_person_at_home(user_agents: UserAgents, directory: Path) -> None:
    verdict, agent, network = Classifier(user_agents, NetworkData(directory)).classify(FIREFOX, address("203.0.113.9"))
    assert (verdict.traffic_class, verdict.reasons) == (TrafficClass.REAL, ())
    assert (agent.browser, agent.os, agent.device) == ("Firefox", "Linux", "desktop")
    assert (network.country, network.city) == ("DE", "Berlin")


def test_person_in_a_datacenter(user_agents: UserAgents, directory: Path) -> None:
    classifier = Classifier(user_agents, NetworkData(directory))
    verdict, _, _ = classifier.classify(FIREFOX, address("203.0.113.200"))
    assert (verdict.traffic_class, verdict.fraud_type) == (TrafficClass.VPN, FraudType.DATACENTER)


def test_crawler_on_its_range_and_off_it(user_agents: UserAgents, directory: Path) -> None:
    classifier = Classifier(user_agents, NetworkData(directory))
    verified, _, _ = classifier.classify(GOOGLEBOT, address("198.51.100.70"))
    spoofed, _, _ = classifier.classify(GOOGLEBOT, address("198.51.100.1"))
    assert verified.flags & Flag.VERIFIED
    assert verified.bot_action_exempt
    assert spoofed.flags & Flag.SPOOFED
    assert not spoofed.bot_action_exempt


def test_crawler_is_not_called_spoofed_when_no_range_is_known(user_agents: UserAgents, tmp_path: Path) -> None:
    classifier = Classifier(user_agents, NetworkData(tmp_path))
    verdict, _, _ = classifier.classify(GOOGLEBOT, address("198.51.100.1"))
    assert verdict.traffic_class == TrafficClass.BOT
    assert not verdict.flags & Flag.SPOOFED


def test_nothing_known_is_real_without_a_country(user_agents: UserAgents, tmp_path: Path) -> None:
    verdict, _, network = Classifier(user_agents, NetworkData(tmp_path / "none")).classify(
        FIREFOX, address("2001:db8::1")
    )
    assert network.country == "ZZ"
    assert (verdict.traffic_class, verdict.flags) == (TrafficClass.REAL, Flag.NO_GEO)


def test_reloaded_lists_change_the_next_verdict(user_agents: UserAgents, directory: Path) -> None:
    network = NetworkData(directory, settle_seconds=0)
    classifier = Classifier(user_agents, network)
    before, _, _ = classifier.classify(FIREFOX, address("203.0.113.200"))
    (directory / "datacenter.txt").unlink()
    assert network.reload_if_changed()
    after, _, _ = classifier.classify(FIREFOX, address("203.0.113.200"))
    assert (before.traffic_class, after.traffic_class) == (TrafficClass.VPN, TrafficClass.REAL)


def test_prefetch_is_among_the_reasons(user_agents: UserAgents, directory: Path) -> None:
    classifier = Classifier(user_agents, NetworkData(directory))
    verdict, _, _ = classifier.classify(FIREFOX, address("203.0.113.9"), prefetch=True)
    assert verdict.reasons == (("prefetch", 0),)
    plain, _, _ = classifier.classify(FIREFOX, address("203.0.113.9"))
    assert plain.reasons == ()


def test_equal_facts_share_one_verdict(user_agents: UserAgents, directory: Path) -> None:
    classifier = Classifier(user_agents, NetworkData(directory))
    first, _, _ = classifier.classify(FIREFOX, address("203.0.113.9"))
    again, _, _ = classifier.classify(FIREFOX, address("203.0.113.10"))
    assert first is again
