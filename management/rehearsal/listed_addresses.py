"""The operator's address lists as the demo needs them: who must look like a VPN, and who must not.

The edge reads the same files for its labels; this is a reading of its own, so that the demo can find it wrong.
"""

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from management.rehearsal.errors import RehearsalError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Home = tuple[str, tuple[Network, ...]]
"""A language and the address ranges where it is spoken."""

MASKING: Final = ("vpn.txt", "datacenter.txt", "tor.txt")
"""Who is on one of these is in class vpn …"""
OVERRULING: Final = ("residential.txt", "relay.txt", "crawler.txt")
"""… unless also on one of these."""
_DRAWN_FROM: Final = ("vpn.txt", "datacenter.txt")
_TRIES: Final = 1_000


class Ranges:
    """Networks of both families, merged, so that membership is one bisection."""

    def __init__(self, networks: Iterable[Network]) -> None:
        spans = sorted((n.version, int(n.network_address), int(n.broadcast_address)) for n in networks)
        merged: list[tuple[int, int, int]] = []
        for version, first, last in spans:
            if merged and merged[-1][0] == version and first <= merged[-1][2] + 1:
                merged[-1] = (version, merged[-1][1], max(last, merged[-1][2]))
            else:
                merged.append((version, first, last))
        self._spans = merged
        self._starts = [span[:2] for span in merged]

    def __contains__(self, address: Address) -> bool:
        place = bisect_right(self._starts, (address.version, int(address))) - 1
        if place < 0:
            return False
        version, _, last = self._spans[place]
        return version == address.version and int(address) <= last


@dataclass(frozen=True, slots=True)
class ListedAddresses:
    """What of the lists decides a visitor's class. Without lists nobody is a VPN."""

    masked: tuple[Network, ...] = ()
    """Where VPN visitors are drawn from."""
    masking: Ranges = field(default_factory=lambda: Ranges(()))
    overruling: Ranges = field(default_factory=lambda: Ranges(()))

    @property
    def has_vpn(self) -> bool:
        return bool(self.masked)

    def draw_vpn(self, chance: Random) -> Address:
        """An address that the lists put into class vpn; raises RehearsalError where there is none."""
        for _ in range(_TRIES):
            network = chance.choice(self.masked)
            address = network[chance.randrange(network.num_addresses)]
            if address not in self.overruling:
                return address
        raise RehearsalError(f"Every address of {' and '.join(_DRAWN_FROM)} is also on {', '.join(OVERRULING)}")

    def draw_home(self, homes: tuple[Home, ...], chance: Random) -> tuple[str, Address]:
        """Language and address of someone at home, on no masking list; raises RehearsalError where nobody is."""
        for _ in range(_TRIES):
            language, networks = chance.choice(homes)
            network = chance.choice(networks)
            address = network[chance.randrange(network.num_addresses)]
            if address not in self.masking:
                return language, address
        raise RehearsalError(f"{', '.join(MASKING)} list nearly every address, so the demo has no ordinary visitors")


def read_lists(directory: Path) -> ListedAddresses:
    """The lists in `directory`; a missing file is an empty list. Raises RehearsalError for an unreadable one."""
    lists = {name: _read(directory / name) for name in (*MASKING, *OVERRULING)}
    return ListedAddresses(
        masked=tuple(network for name in _DRAWN_FROM for network in lists[name] if network.version == 4),
        masking=Ranges(network for name in MASKING for network in lists[name]),
        overruling=Ranges(network for name in OVERRULING for network in lists[name]),
    )


def _read(path: Path) -> list[Network]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RehearsalError(f"{path} cannot be read: {error}") from error
    networks: list[Network] = []
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            continue  # the edge reports such a line; here it is nobody's address
    return networks
