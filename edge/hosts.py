"""Which host names the edge answers to: any other is 404, whatever it asks for (security X14). Pure."""

import ipaddress
import re
from urllib.parse import urlsplit

from edge.recent import Known

_REMEMBERED = 1_024
_LONGEST = 261
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f.]*:[0-9a-f:.]*)\]|(?P<name>[^\[\]:]+))(?::[0-9]*)?")


class Hosts:
    """The shared host, which is that of MILEPOST_EDGE_URL, and every loopback name while the listener is on loopback.
    Ports are not compared: a proxy in front has its own."""

    def __init__(self, edge_url: str, listener: str) -> None:
        self._shared = (urlsplit(edge_url).hostname or "").rstrip(".")
        self._loopback_too = is_loopback(listener)
        self.known = Known(_REMEMBERED, self._judge, _LONGEST)
        self.answers = self.known.__getitem__
        """Whether a request with this Host header is for this installation."""

    def _judge(self, host: bytes) -> bool:
        name = _without_port(host.decode("latin-1").lower())
        if not name:
            return False
        return name == self._shared or (self._loopback_too and is_loopback(name))


def _without_port(host: str) -> str:
    """The name or address in front of the port; "" for what no browser sends."""
    match = _HOST.fullmatch(host)
    if match is None:
        return ""
    return match["v6"] or match["name"].removesuffix(".")


def is_loopback(name: str) -> bool:
    """Whether `name` is localhost, a name below it, or an address of this machine alone."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
