"""Whose address a request came from, behind however many proxies, and in which forms it is kept.

X-Forwarded-For and X-Forwarded-Proto are believed only from a peer in MILEPOST_TRUSTED_PROXIES. The chain is read
from the right, because each proxy appends the peer it saw: the first address from the right that is not a trusted
proxy is the visitor's. What stands left of it was written by the visitor, so garbage there changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal

from edge.recent import Recent

IpStorage = Literal["truncated", "full", "none"]

_MAPPED_PREFIX = 0xFFFF << 32
_V4_MASK = 0xFFFFFFFF
_STORED_V4_MASK = 0xFFFFFF00
_STORED_V6_BITS = 48
_LONGEST_TEXT = 80
_REMEMBERED_ADDRESSES = 16_384


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """An address, parsed once: canonical text, version (4 or 6) and the number its bytes make.
    An IPv4 address written as IPv6 (`::ffff:`) is the IPv4 address; zone ids are dropped."""

    text: str
    version: int
    packed: int


UNKNOWN_ADDRESS = ClientAddress("0.0.0.0", 4, 0)
"""Stands for a peer without an IP address (a request over a Unix socket). No list and no country knows it."""


def parse_address(text: str) -> ClientAddress | None:
    """The address in one element of X-Forwarded-For or in a peer's name: bare, with port (`1.2.3.4:80`, `[v6]:80`),
    in brackets, with zone id. None for anything else."""
    if len(text) > _LONGEST_TEXT:
        return None
    text = text.strip(" \t")
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not _is_port(rest)):
            return None
        return _parse_v6(host)
    colons = text.count(":")
    if colons > 1:
        return _parse_v6(text)
    if colons == 1:
        text, _, port = text.partition(":")
        if not _is_port(":" + port):
            return None
    return _parse_v4(text)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[0] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535


def _parse_v4(text: str) -> ClientAddress | None:
    try:
        raw = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None
    return ClientAddress(inet_ntop(AF_INET, raw), 4, int.from_bytes(raw, "big"))


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
        self._ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in networks:
            first, last = int(network.network_address), int(network.broadcast_address)
            if network.version == 6 and first >= _MAPPED_PREFIX and last <= _MAPPED_PREFIX | _V4_MASK:
                # written as ::ffff:a.b.c.d/n; the address itself is compared as IPv4
                self._ranges[4].append((first & _V4_MASK, last & _V4_MASK))
            else:
                self._ranges[network.version].append((first, last))
        self._parsed: Recent[str, tuple[ClientAddress, bool]] = Recent(_REMEMBERED_ADDRESSES)

    def visitor(self, peer: str, forwarded_for: Sequence[str] = ()) -> ClientAddress:
        """The visitor's address. `peer` is the other end of the connection, `forwarded_for` the values of all
        X-Forwarded-For headers in the order received.

        The peer unless it is trusted; then the first untrusted address from the right; the leftmost when all are
        trusted; the peer when an element that had to be read is no address. Empty elements are passed over.
        """
        address, trusted = self._judged(peer) or (UNKNOWN_ADDRESS, False)
        if not forwarded_for or not trusted:
            return address
        leftmost = address
        chain = forwarded_for[0] if len(forwarded_for) == 1 else ",".join(forwarded_for)
        while chain:
            chain, _, element = chain.rpartition(",")
            element = element.strip(" \t")
            if not element:
                continue
            judged = self._judged(element)
            if judged is None:
                return address
            leftmost, hop_trusted = judged
            if not hop_trusted:
                break
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
        judged = self._judged(peer)
        return judged is not None and judged[1]

    def _judged(self, text: str) -> tuple[ClientAddress, bool] | None:
        judged = self._parsed.get(text)
        if judged is None:
            address = parse_address(text)
            if address is None:
                return None
            packed = address.packed
            trusted = any(first <= packed <= last for first, last in self._ranges[address.version])
            judged = (address, trusted)
            self._parsed.put(text, judged)
        return judged


def stored_ip(address: ClientAddress, policy: IpStorage) -> str:
    """The address as MILEPOST_IP_STORAGE lets it be written: `truncated` to its /24 or /48 (the network's first
    address), `full`, or the empty string for `none`."""
    if policy == "full":
        return address.text
    if policy == "none":
        return ""
    if address.version == 4:
        return inet_ntop(AF_INET, (address.packed & _STORED_V4_MASK).to_bytes(4, "big"))
    shift = 128 - _STORED_V6_BITS
    return inet_ntop(AF_INET6, (address.packed >> shift << shift).to_bytes(16, "big"))


def key_form(address: ClientAddress) -> bytes:
    """The bytes that stand for the address in visitor and address keys: all 4 of an IPv4 address, the first 8 of an
    IPv6 address (/64), because one household or phone has a whole /64 and changes the rest of it at will."""
    if address.version == 4:
        return address.packed.to_bytes(4, "big")
    return (address.packed >> 64).to_bytes(8, "big")
