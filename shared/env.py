"""All settings: names, defaults, meanings, and their reading from the environment.

The names are a contract (other tools start milepost through them). Every bad value is reported at once, and an
unknown MILEPOST_ name is an error, because a misspelt setting that is silently ignored loses clicks.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

PREFIX = "MILEPOST_"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table; `default` is the text a user would type, "" where there is none."""

    name: str
    default: str
    meaning: str
    parse: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, parsed. Sizes in bytes, times in seconds; None = not given."""

    data_dir: Path
    edge_host: str
    edge_port: int
    edge_workers: int
    api_host: str
    api_port: int
    edge_admin_port: int
    edge_url: str
    api_url: str
    durability: Literal["fsync", "os"]
    on_disk_full: Literal["redirect", "refuse"]
    journal_max: int
    journal_keep: int
    disk_reserve: int
    retention_days: int
    edge_connections_per_address: int
    postback_rate: int
    trusted_proxies: tuple[Network, ...]
    ip_data_dir: Path
    ip_storage: Literal["truncated", "full", "none"]
    database_url: str | None
    redis_url: str | None
    kafka_bootstrap: str | None
    secret_keys: str | None
    owner_email: str | None
    owner_password: str | None
    smtp_url: str | None
    mail_from: str | None
    api_hosts: tuple[str, ...]
    allow_http: bool
    outbound_allow: tuple[Network, ...]
    metrics_token: str | None


class SettingsError(Exception):
    """Bad settings; `problems` holds one sentence for each, naming the setting."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return parse


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,15})\s*(KiB|MiB|GiB|TiB)?", text)
    if match is None:
        raise ValueError("must be a size such as 512 MiB or 10 GiB")
    return int(match[1]) * (1 << 10 * ("", "KiB", "MiB", "GiB", "TiB").index(match[2] or ""))


def _duration(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})(s|m|h|d)", text)
    if match is None:
        raise ValueError("must be a duration such as 90s, 30m, 24h or 7d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _networks(text: str) -> tuple[Network, ...]:
    found: list[Network] = []
    for word in text.replace(",", " ").split():
        if word == "loopback":
            found += [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
            continue
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(f"{word!r} is not a CIDR such as 10.0.0.0/8") from None
    return tuple(found)


def _url(*schemes: str) -> Callable[[str], str | None]:
    def parse(text: str) -> str | None:
        if not text:
            return None
        try:
            parts = urlsplit(text)
            usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
        return text.rstrip("/")

    return parse


def _text(text: str) -> str | None:
    return text or None


def _email(text: str) -> str | None:
    if text and not re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,189}", text):
        raise ValueError("must be an e-mail address")
    return text or None


def _password(text: str) -> str | None:
    if text and not 8 <= len(text) <= 200:
        raise ValueError("must have 8 to 200 characters")
    return text or None


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", text):
        raise ValueError("must be a host name or address")
    return text


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_host(word.strip("[]")).lower() for word in text.replace(",", " ").split())


def _brokers(text: str) -> str | None:
    """Kafka's own form: host:port, several apart by commas; an IPv6 address in brackets."""
    found: list[str] = []
    for word in (part.strip() for part in text.split(",") if text):
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(\d{1,5})", word)
        if match is None or not 1 <= int(match[2]) <= 65535:
            raise ValueError(f"{word!r} is not host:port such as kafka-1.example.org:9092")
        found.append(word)
    return ",".join(found) or None


def _boolean(text: str) -> bool:
    return _choice("true", "false")(text) == "true"


SETTINGS: tuple[Setting, ...] = (
    Setting("DATA_DIR", ".milepost", "journal, embedded databases, secrets, table copies", Path),
    Setting("EDGE_HOST", "127.0.0.1", "address of the public listener", _host),
    Setting("EDGE_PORT", "8080", "port of the public listener", _whole(1, 65535)),
    Setting("EDGE_WORKERS", "1", "worker processes of the edge", _whole(1, 256)),
    Setting("API_HOST", "127.0.0.1", "address of the API", _host),
    Setting("API_PORT", "8081", "port of the API", _whole(1, 65535)),
    Setting("EDGE_ADMIN_PORT", "9080", "loopback only: /healthz /readyz /metrics of the edge", _whole(1, 65535)),
    Setting("EDGE_URL", "", "what tracking_url begins with; default http://localhost:{EDGE_PORT}", _url("http", "https")),
    Setting("API_URL", "", "links in e-mails; default http://localhost:{API_PORT}", _url("http", "https")),
    Setting("DURABILITY", "fsync", "fsync: on disk before the answer; os: in the kernel before it", _choice("fsync", "os")),
    Setting("ON_DISK_FULL", "redirect", "redirect (declared loss) or refuse (503)", _choice("redirect", "refuse")),
    Setting("JOURNAL_MAX", "10 GiB", "largest journal of one edge", _size),
    Setting("JOURNAL_KEEP", "24h", "how long stored segments are kept", _duration),
    Setting("DISK_RESERVE", "1 GiB", "free space that the journal leaves", _size),
    Setting("RETENTION_DAYS", "0", "days that clicks are kept; 0 = for ever", _whole(0, 36500)),
    Setting("EDGE_CONNECTIONS_PER_ADDRESS", "512", "open connections one address may hold; 0 = off", _whole(0, 1_000_000)),
    Setting("POSTBACK_RATE", "200", "postbacks a second from one source; 0 = off", _whole(0, 1_000_000)),
    Setting("TRUSTED_PROXIES", "loopback", "CIDRs whose X-Forwarded-For and -Proto are believed", _networks),
    Setting("IP_DATA_DIR", "", "*.mmdb and CIDR lists; default: ip below the data dir", _text),
    Setting("IP_STORAGE", "truncated", "truncated (/24, /48), full or none", _choice("truncated", "full", "none")),
    Setting("DATABASE_URL", "", "own Postgres, as its owner; default: embedded", _url("postgres", "postgresql")),
    Setting("REDIS_URL", "", "own Redis or Valkey; default: embedded", _url("redis", "rediss")),
    Setting("KAFKA_BOOTSTRAP", "", "host:port,…: journal to Kafka to ingest; empty: ingest reads the journal", _brokers),
    Setting("SECRET_KEYS", "", "key ring, newest first; default: generated into the data dir", _text),
    Setting("OWNER_EMAIL", "", "first owner's e-mail; default owner@localhost.localdomain", _email),
    Setting("OWNER_PASSWORD", "", "first owner's password; default: generated", _password),
    Setting("SMTP_URL", "", "e-mail out", _url("smtp", "smtps")),
    Setting("MAIL_FROM", "", "sender of e-mails", _email),
    Setting("API_HOSTS", "localhost 127.0.0.1 ::1", "Hosts the API answers; others 421", _hosts),
    Setting("ALLOW_HTTP", "false", "credentials over plain http from beyond loopback", _boolean),
    Setting("OUTBOUND_ALLOW", "", "CIDRs that outgoing calls may reach although private", _networks),
    Setting("METRICS_TOKEN", "", "Bearer for /metrics of the API from beyond loopback", _text),
)  # fmt: skip


def load(environ: Mapping[str, str]) -> Settings:
    """Read all settings from `environ`; raises SettingsError naming every problem at once.

    An empty value means the default, as in `MILEPOST_SMTP_URL= milepost up`.
    """
    problems: list[str] = []
    known = {PREFIX + setting.name for setting in SETTINGS}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            problems.append(f"{name}: there is no such setting")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        name = PREFIX + setting.name
        text = environ.get(name, "").strip() or setting.default
        try:
            values[setting.name.lower()] = setting.parse(text)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    problems += _contradictions(values)
    if problems:
        raise SettingsError(tuple(problems))
    values["data_dir"] = values["data_dir"].absolute()
    values["edge_url"] = values["edge_url"] or f"http://localhost:{values['edge_port']}"
    values["api_url"] = values["api_url"] or f"http://localhost:{values['api_port']}"
    values["ip_data_dir"] = Path(values["ip_data_dir"] or values["data_dir"] / "ip").absolute()
    return Settings(**values)


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    ports: dict[int, str] = {}
    problems: list[str] = []
    for name in ("edge_port", "api_port", "edge_admin_port"):
        port = values.get(name)
        if port is None:
            continue
        if port in ports:
            problems.append(f"{PREFIX}{name.upper()}: {port} is already taken by {PREFIX}{ports[port].upper()}")
        ports.setdefault(port, name)
    return problems


def as_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: `environ` with the data dir made absolute."""
    return {**environ, PREFIX + "DATA_DIR": str(settings.data_dir)}


assert {field.name for field in fields(Settings)} == {setting.name.lower() for setting in SETTINGS}
