"""Where the installation of these settings answers: its edge, its API, its database."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from management.rehearsal.errors import RehearsalError
from shared.data_dir import DataDir
from shared.env import Settings

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """URLs without a slash at the end; `database_url` (the owner's) is None where nobody says it."""

    edge_url: str
    api_url: str
    database_url: str | None


def find_endpoints(settings: Settings, edge_url: str | None = None, api_url: str | None = None) -> Endpoints:
    """What is asked for on the command line, else what a running `milepost up` wrote down, else the settings.

    The edge is sought behind any proxy, because only a peer that it trusts may name visitors' addresses.
    """
    written = _written_by_up(DataDir.at(settings.data_dir))
    return Endpoints(
        _checked(edge_url, "--edge")
        or _local(written.get("edge_url"))
        or _local(settings.edge_url)
        or _listener(settings.edge_host, settings.edge_port),
        _checked(api_url, "--api")
        or _local(written.get("api_url"))
        or _local(settings.api_url)
        or _listener(settings.api_host, settings.api_port),
        settings.database_url or written.get("database_url"),
    )


def require_trusted_loopback(settings: Settings) -> None:
    """Raises RehearsalError where the edge would take all visitors for this machine."""
    loopback = ipaddress.ip_address("127.0.0.1")
    if not any(loopback in network for network in settings.trusted_proxies):
        raise RehearsalError(
            "MILEPOST_TRUSTED_PROXIES does not list loopback, so the edge would take all visitors for this machine"
        )


def _written_by_up(data_dir: DataDir) -> Mapping[str, Any]:
    try:
        written = orjson.loads(data_dir.endpoints.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        # Not running here, or somebody else's: the settings say it then.
        return {}
    return written if isinstance(written, dict) else {}


def _local(url: Any) -> str | None:
    """`url` when it is one of this machine."""
    if not isinstance(url, str):
        return None
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return url
    try:
        return url if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


def _listener(host: str, port: int) -> str:
    name = _WILDCARDS.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def _checked(url: str | None, option: str) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise RehearsalError(f"{option} must be a URL such as http://localhost:8080")
    return url.rstrip("/")
