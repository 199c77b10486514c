"""Address data as an operator would have it: a city and an AS database, and lists of networks, made up.

The databases cover the /12 that clicks come from, in pieces of a /22; the lists are spread over all addresses.
"""

import random
from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

LISTED = {"datacenter": 4000, "vpn": 2000, "crawler": 500, "tor": 500}
LANGUAGES = ("de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN")
"""The names that published databases carry; all but one are passed over by the edge."""


def write(directory: Path) -> None:
    """Write `city.mmdb`, `asn.mmdb` and one text file a list; the same bytes of content every time."""
    draw = random.Random(1)
    city, systems = MMDBWriter(6, "City", ipv4_compatible=True), MMDBWriter(6, "ASN", ipv4_compatible=True)
    for second in range(16):
        for third in range(0, 256, 4):
            network = IPSet([f"81.{second}.{third}.0/22"])
            place = {
                "country": {"iso_code": draw.choice(("AT", "DE", "FR", "GB")), "names": _names("Country")},
                "subdivisions": [{"iso_code": f"R{second}", "names": _names(f"Region {second}")}],
                "city": {"names": _names(f"City {second}.{third}")},
            }
            city.insert_network(network, place)
            system = {"autonomous_system_number": 64_500 + second, "autonomous_system_organization": f"Net {second}"}
            systems.insert_network(network, system)
    city.to_db_file(str(directory / "city.mmdb"))
    systems.to_db_file(str(directory / "asn.mmdb"))
    for name, count in LISTED.items():
        lines = (f"{draw.randrange(1, 224)}.{draw.randrange(256)}.{draw.randrange(256)}.0/24" for _ in range(count))
        (directory / f"{name}.txt").write_text("\n".join(lines) + "\n")


def _names(english: str) -> dict[str, str]:
    return {language: english if language == "en" else f"{english} {language}" for language in LANGUAGES}
