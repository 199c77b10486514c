"""Builders for the classify tests: address files as an operator would have them, signals, addresses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from edge.classify.signals import Signals
from edge.client_ip import ClientAddress, parse_address

NESTED_BERLIN: dict[str, Any] = {
    "country": {"iso_code": "DE", "names": {"de": "Deutschland", "en": "Germany"}},
    "registered_country": {"iso_code": "DE"},
    "subdivisions": [{"iso_code": "BE", "names": {"en": "Land Berlin"}}],
    "city": {"names": {"de": "Berlin", "en": "Berlin"}},
}


def address(text: str) -> ClientAddress:
    parsed = parse_address(text)
    assert parsed is not None, text
    return parsed


def write_mmdb(path: Path, records: Mapping[str, Any], ip_version: int = 6, kind: str = "Test") -> None:
    """A real mmdb file with one record per network."""
    writer = MMDBWriter(ip_version, kind, ipv4_compatible=ip_version == 6, int_type="u32")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))


def signals(**changes: Any) -> Signals:
    """A person at home in a known country, but for the changes."""
    return Signals(
        bot_kind="",
        publishes_ranges=False,
        kind=0,
        categories=0,
        has_country=True,
        crawler_ranges_known=True,
        prefetch=False,
    )._replace(**changes)
