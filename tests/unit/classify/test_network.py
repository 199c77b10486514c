"""Covers edge.classify.network and geo_records: real mmdb files of several layouts, list files, precedence, reloading
and broken files. Reading a list's lines and the interval table: test_address_lists.py."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.classify.geo_records import layout_of
from edge.classify.network import DEGRADED, NOT_CONFIGURED, OPERATIONAL, NetworkData
from edge.classify.signals import CRAWLER, DATACENTER, RELAY, RESIDENTIAL, TOR, VPN, NetworkVerdict
from tests.unit.classify.builders import NESTED_BERLIN, address, write_mmdb

UNKNOWN = NetworkVerdict("ZZ", "", "", "", 0, 0, 0)


def settled(path: Path, text: str, age: float = 60.0) -> None:
    """Writes a list as if it had been written `age` seconds ago."""
    path.write_text(text)
    moment = time.time() - age
    os.utime(path, (moment, moment))


def look(network: NetworkData, text: str) -> NetworkVerdict:
    return network.lookup(address(text))


def test_missing_directory_knows_nothing_and_says_so(tmp_path: Path) -> None:
    network = NetworkData(tmp_path / "none")
    assert look(network, "203.0.113.9") == UNKNOWN
    assert look(network, "2001:db8::1") == UNKNOWN
    assert network.status().summary == NOT_CONFIGURED
    assert network.problems == {}
    assert not network.reload_if_changed()


def test_nested_maxmind_city_and_asn_files_complete_each_other(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "GeoLite2-City.mmdb", {"203.0.113.0/24": NESTED_BERLIN, "2001:db8::/32": NESTED_BERLIN})
    write_mmdb(
        tmp_path / "GeoLite2-ASN.mmdb",
        {"203.0.113.0/24": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example Net"}},
    )
    network = NetworkData(tmp_path)
    berlin = NetworkVerdict("DE", "Land Berlin", "Berlin", "Example Net", 64500, 0, 0)
    assert look(network, "203.0.113.9") == berlin
    assert look(network, "::ffff:203.0.113.9") == berlin
    assert look(network, "2001:db8::9") == replace(berlin, isp="", asn=0)
    assert look(network, "198.51.100.1") == UNKNOWN
    assert network.status().summary == OPERATIONAL


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param({"country_code": "se"}, replace(UNKNOWN, country="SE"), id="flat country"),
        pytest.param({"country": "SE"}, replace(UNKNOWN, country="SE"), id="code in a field named country"),
        pytest.param(
            {"country": "Sweden", "country_code": "SE", "asn": "AS64501", "as_name": "Example AB"},
            replace(UNKNOWN, country="SE", isp="Example AB", asn=64501),
            id="name and code, AS number as text",
        ),
        pytest.param(
            {"asn": 64502, "as_organization": "Example Inc"},
            replace(UNKNOWN, isp="Example Inc", asn=64502),
            id="flat network",
        ),
        pytest.param(
            {"city": "Malmö", "state1": "Skåne", "country_code": "SE"},
            replace(UNKNOWN, country="SE", region="Skåne", city="Malmö"),
            id="flat city",
        ),
        pytest.param(
            {
                "country": {"iso_code": "SE"},
                "traits": {"isp": "Example ISP", "autonomous_system_number": 64503, "organization": "Customer"},
            },
            replace(UNKNOWN, country="SE", isp="Example ISP", asn=64503),
            id="enterprise traits",
        ),
        pytest.param(
            {"registered_country": {"iso_code": "SE"}}, replace(UNKNOWN, country="SE"), id="country of registration"
        ),
        pytest.param(
            {"country": {"iso_code": "SE"}, "subdivisions": [{"iso_code": "M"}]},
            replace(UNKNOWN, country="SE", region="M"),
            id="region without a name",
        ),
        pytest.param(
            {"country_code": "SE", "asn": "AS-none", "as_name": "", "city": 5},
            replace(UNKNOWN, country="SE"),
            id="values of the wrong kind",
        ),
    ],
)
def test_layout_is_found_out_from_the_records(tmp_path: Path, record: dict[str, Any], expected: NetworkVerdict) -> None:
    write_mmdb(tmp_path / "any.mmdb", {"203.0.113.0/24": record})
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9") == expected
    assert network.problems == {}


def test_ipv4_only_file_is_not_asked_about_ipv6(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "v4.mmdb", {"203.0.113.0/24": {"country_code": "SE"}}, ip_version=4)
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9").country == "SE"
    assert look(network, "2001:db8::1") == UNKNOWN
    assert network.problems == {}


def test_first_file_by_name_that_knows_the_address_gives_a_field(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "a.mmdb", {"203.0.113.0/25": {"country_code": "SE"}})
    write_mmdb(tmp_path / "b.mmdb", {"203.0.113.0/24": {"country_code": "NO", "asn": 64500}})
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9") == replace(UNKNOWN, country="SE", asn=64500)
    assert look(network, "203.0.113.200") == replace(UNKNOWN, country="NO", asn=64500)


def test_a_place_whose_value_is_none_leaves_the_field_to_the_next(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "a.mmdb", {"203.0.113.0/25": {"country": "Sweden"}, "198.51.100.0/24": {"country": "SE"}})
    write_mmdb(tmp_path / "b.mmdb", {"203.0.113.0/24": {"country_code": "NO"}})
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9").country == "NO"
    assert look(network, "198.51.100.9").country == "SE"


def test_a_list_or_map_where_a_value_belongs_is_no_value(tmp_path: Path) -> None:
    records = {
        "203.0.113.0/24": {"city": ["Malmö"]},
        "192.0.2.0/24": {"city": {"en": "x"}},
        "198.51.100.0/24": {"city": "Malmö"},
    }
    write_mmdb(tmp_path / "any.mmdb", records)
    network = NetworkData(tmp_path)
    assert [look(network, text).city for text in ("203.0.113.9", "192.0.2.9", "198.51.100.9")] == ["", "", "Malmö"]
    assert network.problems == {}


def test_addresses_of_which_the_same_is_known_share_a_verdict(tmp_path: Path) -> None:
    write_mmdb(
        tmp_path / "any.mmdb", {"203.0.113.0/24": {"country_code": "SE"}, "198.51.100.0/24": {"country_code": "SE"}}
    )
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9") is look(network, "198.51.100.9")
    assert look(NetworkData(tmp_path / "none"), "203.0.113.9") is look(NetworkData(tmp_path / "none"), "2001:db8::1")


def test_country_by_registration_alone_is_found_in_a_file_whose_sample_had_none(tmp_path: Path) -> None:
    layout = layout_of([{"country": {"iso_code": "SE"}}])
    assert layout["country"] == (("country", "iso_code"), ("registered_country", "iso_code"))


def test_file_about_something_else_is_refused_and_named(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "weather.mmdb", {"203.0.113.0/24": {"temperature": 7}})
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9") == UNKNOWN
    assert "not a usable mmdb" in network.problems["weather.mmdb"]
    assert network.status().summary == DEGRADED


PRECEDENCE = [
    ("residential.txt", RESIDENTIAL),
    ("relay.txt", RELAY),
    ("tor.txt", TOR),
    ("crawler.txt", CRAWLER),
    ("vpn.txt", VPN),
    ("datacenter.txt", DATACENTER),
]


@pytest.mark.parametrize("target", ["203.0.113.9", "2001:db8::9"])
@pytest.mark.parametrize("place", range(len(PRECEDENCE)))
def test_strongest_list_decides_and_all_that_matched_are_kept(tmp_path: Path, place: int, target: str) -> None:
    """Writes this list and all weaker ones."""
    for name, _ in PRECEDENCE[place:]:
        settled(tmp_path / name, "203.0.113.0/24\n2001:db8::/48\n")
    verdict = look(NetworkData(tmp_path), target)
    assert verdict.kind == PRECEDENCE[place][1]
    assert verdict.categories == sum(category for _, category in PRECEDENCE[place:])
    assert look(NetworkData(tmp_path), "198.51.100.1") == UNKNOWN


def test_list_and_mmdb_answer_together(tmp_path: Path) -> None:
    settled(tmp_path / "vpn.txt", "203.0.113.9")
    write_mmdb(tmp_path / "country.mmdb", {"203.0.113.0/24": {"country_code": "SE"}})
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9") == replace(UNKNOWN, country="SE", kind=VPN, categories=VPN)
    assert look(network, "203.0.113.10") == replace(UNKNOWN, country="SE")


def test_crawler_ranges_are_known_only_with_a_list_that_has_entries(tmp_path: Path) -> None:
    settled(tmp_path / "crawler.txt", "# nothing yet\n")
    assert not NetworkData(tmp_path).has_crawler_ranges
    settled(tmp_path / "crawler.txt", "203.0.113.0/24\n")
    assert NetworkData(tmp_path).has_crawler_ranges


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    settled(tmp_path / "README.txt", "not a list at all\n")
    settled(tmp_path / "vpn.txt.part", "half a line")
    assert NetworkData(tmp_path).status().summary == NOT_CONFIGURED


def test_bad_lines_are_a_problem_but_the_list_is_used(tmp_path: Path) -> None:
    settled(tmp_path / "tor.txt", "203.0.113.9\nexample.com\n198.51.100.1\n")
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9").kind == TOR
    assert "1 lines are no address" in network.problems["tor.txt"]
    assert "line 2: 'example.com'" in network.problems["tor.txt"]
    (file,) = network.status().files
    assert (file.name, file.entries) == ("tor.txt", 2)


def test_nothing_changed_nothing_reloaded(tmp_path: Path) -> None:
    settled(tmp_path / "vpn.txt", "203.0.113.9")
    network = NetworkData(tmp_path)
    assert not network.reload_if_changed()


def test_new_changed_and_removed_files_are_followed(tmp_path: Path) -> None:
    network = NetworkData(tmp_path)
    settled(tmp_path / "vpn.txt", "203.0.113.9", age=60)
    assert network.reload_if_changed()
    assert look(network, "203.0.113.9").kind == VPN

    settled(tmp_path / "vpn.txt", "203.0.113.8", age=50)
    assert network.reload_if_changed()
    assert (look(network, "203.0.113.8").kind, look(network, "203.0.113.9").kind) == (VPN, 0)

    (tmp_path / "vpn.txt").unlink()
    assert network.reload_if_changed()
    assert look(network, "203.0.113.8") == UNKNOWN
    assert network.status().summary == NOT_CONFIGURED


def test_replaced_mmdb_is_read_again(tmp_path: Path) -> None:
    write_mmdb(tmp_path / "new", {"203.0.113.0/24": {"country_code": "NO"}})
    write_mmdb(tmp_path / "country.mmdb", {"203.0.113.0/24": {"country_code": "SE"}})
    network = NetworkData(tmp_path, settle_seconds=0)
    (tmp_path / "new").replace(tmp_path / "country.mmdb")
    assert network.reload_if_changed()
    assert look(network, "203.0.113.9").country == "NO"


def test_file_that_was_written_a_moment_ago_waits_until_it_is_settled(tmp_path: Path) -> None:
    settled(tmp_path / "vpn.txt", "203.0.113.9\n198.51.100.1\n")
    network = NetworkData(tmp_path, settle_seconds=30)
    (tmp_path / "vpn.txt").write_text("203.0.113.9\n")
    assert not network.reload_if_changed()
    assert look(network, "198.51.100.1").kind == VPN

    settled(tmp_path / "vpn.txt", "203.0.113.9\n", age=31)
    assert network.reload_if_changed()
    assert look(network, "198.51.100.1").kind == 0


def test_file_without_a_predecessor_is_used_at_once(tmp_path: Path) -> None:
    network = NetworkData(tmp_path, settle_seconds=30)
    (tmp_path / "vpn.txt").write_text("203.0.113.9\n")
    assert network.reload_if_changed()
    assert look(network, "203.0.113.9").kind == VPN


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no mmdb at all" * 100, id="text"),
        pytest.param(None, id="cut in half"),
    ],
)
def test_broken_mmdb_never_replaces_a_good_one(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "country.mmdb"
    write_mmdb(path, {"203.0.113.0/24": {"country_code": "SE"}})
    good = path.read_bytes()
    network = NetworkData(tmp_path, settle_seconds=0)
    path.write_bytes(good[: len(good) // 2] if content is None else content)

    assert not network.reload_if_changed()
    assert look(network, "203.0.113.9").country == "SE"
    assert "not a usable mmdb" in network.problems["country.mmdb"]
    assert network.status().summary == DEGRADED
    assert not network.reload_if_changed(), "a file that did not change is not tried again"

    path.write_bytes(good)
    assert network.reload_if_changed()
    assert network.problems == {}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00garbage\n", b"<html>\n<p>404</p>\n</html>\n"])
def test_broken_list_never_replaces_a_good_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vpn.txt"
    settled(path, "203.0.113.9\n")
    network = NetworkData(tmp_path, settle_seconds=0)
    path.write_bytes(content)
    assert not network.reload_if_changed()
    assert look(network, "203.0.113.9").kind == VPN
    assert set(network.problems) == {"vpn.txt"}


def test_broken_file_from_the_start_leaves_the_others_in_use(tmp_path: Path) -> None:
    (tmp_path / "city.mmdb").write_bytes(b"broken")
    settled(tmp_path / "vpn.txt", "203.0.113.9\n")
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9").kind == VPN
    assert set(network.problems) == {"city.mmdb"}
    assert [file.name for file in network.status().files] == ["city.mmdb", "vpn.txt"]
    (tmp_path / "city.mmdb").unlink()
    network.reload_if_changed()
    assert network.problems == {}


def test_record_that_cannot_be_read_is_unknown_and_named(tmp_path: Path) -> None:
    """A file whose records differ from its sample: the country is a text in one and a map in the others."""
    records: dict[str, Any] = {"203.0.113.0/24": {"country": {"iso_code": "SE"}}, "198.51.100.0/24": {"country": "NO"}}
    write_mmdb(tmp_path / "mixed.mmdb", {f"10.{n}.0.0/16": {"country": {"iso_code": "FI"}} for n in range(9)} | records)
    network = NetworkData(tmp_path)
    assert look(network, "203.0.113.9").country == "SE"
    assert look(network, "198.51.100.9").country == "NO"
    assert "cannot be read" in network.problems["mixed.mmdb"]


def test_status_tells_the_age_of_every_file(tmp_path: Path) -> None:
    settled(tmp_path / "vpn.txt", "203.0.113.9\n198.51.100.0/24\n", age=3600)
    write_mmdb(tmp_path / "country.mmdb", {"203.0.113.0/24": {"country_code": "SE"}})
    now = time.time()
    by_name = {file.name: file for file in NetworkData(tmp_path).status().files}
    assert by_name["vpn.txt"].entries == 2
    assert by_name["vpn.txt"].age(now) == pytest.approx(3600, abs=60)
    assert by_name["country.mmdb"].age(now) == pytest.approx(0, abs=60)
    assert by_name["vpn.txt"].age(0.0) == 0.0
