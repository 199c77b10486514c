"""Whose address a request came from, behind however many proxies, and in which forms it is kept.

X-Forwarded-For and X-Forwarded-Proto are believed only from a peer in MILEPOST_TRUSTED_PROXIES. The chain is read
from the right, because each proxy appends the peer it saw: the first address from the right that is not a trusted
proxy is the visitor's. What stands left of it was written by the visitor, so garbage there changes nothing.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import Literal

from edge.recent import Known

IpStorage = Literal["truncated", "full", "none"]

_MAPPED_PREFIX = 0xFFFF << 32
_V4_MASK = 0xFFFFFFFF
_STORED_V6_BITS = 48
_LONGEST_TEXT = 80
_REMEMBERED_PEERS = 4_096
_V4 = Struct(">I")


@dataclass(slots=True)
class ClientAddress:
    """An address, parsed once: canonical text, version (4 or 6) and the number its bytes make.
    An IPv4 address written as IPv6 (`::ffff:`) is the IPv4 address; zone ids are dropped.
    Not frozen, because one is made for every click and a frozen dataclass takes three times as long."""

    text: str
    version: int
    packed: int


UNKNOWN_ADDRESS = ClientAddress("0.0.0.0", 4, 0)
"""Stands for a peer without an IP address (a request over a Unix socket). No list and no country knows it."""


def parse_address(text: str) -> ClientAddress | None:
    """The address in one element of X-Forwarded-For or in a peer's name: bare, with port (`1.2.3.4:80`, `[v6]:80`),
    in brackets, with zone id. None for anything else."""
    text = text.strip(" \t")
    if ":" not in text:
        return _parse_v4(text)
    if len(text) > _LONGEST_TEXT:
        return None
    if text[0] == "[":
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not _is_port(rest)):
            return None
        return _parse_v6(host)
    host, _, port = text.partition(":")
    if ":" in port:
        return _parse_v6(text)
    return _parse_v4(host) if _is_port(":" + port) else None


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[0] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535


def _parse_v4(text: str) -> ClientAddress | None:
    try:
        raw = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None
    # inet_pton takes one spelling of an IPv4 address only, so `text` is the canonical one
    return ClientAddress(text, 4, _V4.unpack(raw)[0])


def _parse_v6(text: str) -> ClientAddress | None:
    address, percent, zone = text.partition("%")
    if percent and not zone:
        return None
    try:
        raw = inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        return None
    packed = int.from_bytes(raw, "big")
    if packed & ~_V4_MASK == _MAPPED_PREFIX:
        return ClientAddress(inet_ntop(AF_INET, raw[12:]), 4, packed & _V4_MASK)
    return ClientAddress(inet_ntop(AF_INET6, raw), 6, packed)


class TrustedProxies:
    """The networks whose forwarding headers are believed, and the visitor behind them."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in networks:
            first, last = int(network.network_address), int(network.broadcast_address)
            if network.version == 6 and first >= _MAPPED_PREFIX and last <= _MAPPED_PREFIX | _V4_MASK:
                # written as ::ffff:a.b.c.d/n; the address itself is compared as IPv4
                ranges[4].append((first & _V4_MASK, last & _V4_MASK))
            else:
                ranges[network.version].append((first, last))
        self._bounds_v4, self._bounds_v6 = _bounds(ranges[4]), _bounds(ranges[6])
        # Peers are mostly the proxies themselves; the addresses that they forward hardly ever come twice.
        self._peers: Known[str, tuple[ClientAddress, bool]] = Known(_REMEMBERED_PEERS, self._judged_peer, _LONGEST_TEXT)

    def visitor(self, peer: str, forwarded_for: Sequence[str] = ()) -> ClientAddress:
        """The visitor's address. `peer` is the other end of the connection, `forwarded_for` the values of all
        X-Forwarded-For headers in the order received.

        The peer unless it is trusted; then the first untrusted address from the right; the leftmost when all are
        trusted; the peer when an element that had to be read is no address. Empty elements are passed over.
        """
        address, trusted = self._peers[peer]
        if not forwarded_for or not trusted:
            return address
        if len(forwarded_for) == 1 and "," not in forwarded_for[0]:
            return parse_address(forwarded_for[0]) or address  # one element is the leftmost, trusted or not
        leftmost = address
        chain = ",".join(forwarded_for)
        while chain:
            chain, _, element = chain.rpartition(",")
            if not element.strip(" \t"):
                continue
            hop = parse_address(element)
            if hop is None or not self._lists(hop):
                return hop or address
            leftmost = hop
        return leftmost

    def scheme(self, peer: str, connection_scheme: str, forwarded_proto: Sequence[str] = ()) -> str:
        """`http` or `https` as the visitor used it: the last value of X-Forwarded-Proto, which the nearest proxy
        wrote, when the peer is trusted and the value is one of the two; else the scheme of the connection."""
        if forwarded_proto and self.is_trusted(peer):
            claimed = forwarded_proto[-1].rpartition(",")[2].strip(" \t").lower()
            if claimed in ("http", "https"):
                return claimed
        return connection_scheme

    def is_trusted(self, peer: str) -> bool:
        """Whether the peer is one of the operator's proxies; a peer without an address is not."""
        return self._peers[peer][1]

    def _judged_peer(self, text: str) -> tuple[ClientAddress, bool]:
        address = parse_address(text)
        return (UNKNOWN_ADDRESS, False) if address is None else (address, self._lists(address))

    def _lists(self, address: ClientAddress) -> bool:
        bounds = self._bounds_v4 if address.version == 4 else self._bounds_v6
        return bisect_right(bounds, address.packed) & 1 == 1


def _bounds(ranges: list[tuple[int, int]]) -> list[int]:
    """Where the ranges, put together, begin and end (the first number behind them), in turn and in order: a number
    is inside when an odd count of bounds is not above it."""
    bounds: list[int] = []
    for first, last in sorted(ranges):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], last + 1)
        else:
            bounds += (first, last + 1)
    return bounds


def stored_ip(address: ClientAddress, policy: IpStorage) -> str:
    """The address as MILEPOST_IP_STORAGE lets it be written: `truncated` to its /24 or /48 (the network's first
    address), `full`, or the empty string for `none`."""
    if policy == "full":
        return address.text
    if policy == "none":
        return ""
    if address.version == 4:
        text = address.text
        return text[: text.rindex(".")] + ".0"
    shift = 128 - _STORED_V6_BITS
    return inet_ntop(AF_INET6, (address.packed >> shift << shift).to_bytes(16, "big"))


def key_form(address: ClientAddress) -> bytes:
    """The bytes that stand for the address in visitor and address keys: all 4 of an IPv4 address, the first 8 of an
    IPv6 address (/64), because one household or phone has a whole /64 and changes the rest of it at will."""
    if address.version == 4:
        return _V4.pack(address.packed)
    return (address.packed >> 64).to_bytes(8, "big")
