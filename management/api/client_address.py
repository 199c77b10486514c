"""Who calls, and over which scheme, behind however many proxies (api.md section 7: as on the edge).

X-Forwarded-For and -Proto are believed only from a peer in MILEPOST_TRUSTED_PROXIES; the chain is read from the
right to the first address that is no trusted proxy. Garbage where an address had to be read: the peer counts.
"""

import ipaddress
from collections.abc import Sequence

from shared.env import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """The address in a peer's name or a forwarded element: bare, with port, in brackets, with zone."""
    text = text.strip(" \t")
    if len(text) > 80:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Proxies:
    """The operator's proxies and what may be believed of them."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)

    def caller(self, peer: str, forwarded_for: Sequence[str]) -> Address | None:
        """The address of whoever calls; None where the peer has none (a Unix socket)."""
        address = parse_address(peer)
        if not forwarded_for or not self.trusts(address):
            return address
        leftmost = address
        for element in reversed(",".join(forwarded_for).split(",")):
            if not element.strip(" \t"):
                continue
            hop = parse_address(element)
            if hop is None:
                return address
            leftmost = hop
            if not self.trusts(hop):
                break
        return leftmost

    def scheme(self, peer: str, scheme: str, forwarded_proto: Sequence[str]) -> str:
        """`http` or `https` as the caller used it: what the nearest trusted proxy says, else the connection's."""
        if forwarded_proto and self.trusts(parse_address(peer)):
            claimed = forwarded_proto[-1].rpartition(",")[2].strip(" \t").lower()
            if claimed in ("http", "https"):
                return claimed
        return scheme


def stored(address: Address | None, policy: str) -> str:
    """The address as MILEPOST_IP_STORAGE lets it be written: its /24 or /48 (`truncated`), `full`, or `none`."""
    if address is None or policy == "none":
        return ""
    if policy == "full":
        return str(address)
    prefix = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, prefix), strict=False).network_address)
