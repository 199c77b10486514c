"""Access logs as clicks: one GET line, one click. Pure: lines in, clicks out, whatever could not be read counted.

Read are the Combined Log Format of Apache and nginx, and JSON objects with `ts ip ua path referer` (`method` too,
where it stands there). Each line is judged by itself, so a log may change its format half-way.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import orjson

MAX_LINE: Final = 65_536
"""Bytes; a longer line is no request that a server would have taken."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_COMBINED = re.compile(
    rb"(\S{1,64}) \S+ [^\[]{1,256} "
    rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "
    + _QUOTED
    + rb" \d{3} (?:\d+|-) "
    + _QUOTED
    + rb" "
    + _QUOTED
)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([\"\\nrtbvf]))")
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METHODS: Final = frozenset(("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND"))
_LATEST: Final = 253_402_300_799  # the end of the year 9999
_SECONDS_END: Final = 100_000_000_000  # a larger number counts milliseconds

BLANK, TOO_LONG, OTHER_FORMAT = "blank line", "longer than 64 KB", "neither Combined Log Format nor JSON"
NO_REQUEST, NO_TIME, NO_ADDRESS = "no HTTP request", "no readable time", "no IP address"
CONTROL_CHARACTER = "control character in a header"


@dataclass(frozen=True, slots=True)
class LogClick:
    """One click of the log. `ts` in seconds since 1970; texts are "" where the log has none (`-`)."""

    ts: float
    ip: str
    user_agent: str
    referrer: str
    path: str


class _Skipped(Exception):
    """The line is no click; the text is the reason it is counted under."""


def read_clicks(lines: Iterable[bytes], skipped: Counter[str]) -> Iterator[LogClick]:
    """The clicks of `lines`, in order; every other line is counted in `skipped` by its reason. Never raises."""
    for line in lines:
        try:
            yield _read_line(line)
        except _Skipped as reason:
            skipped[str(reason)] += 1


def _read_line(line: bytes) -> LogClick:
    if len(line) > MAX_LINE:
        raise _Skipped(TOO_LONG)
    line = line.strip()
    if not line:
        raise _Skipped(BLANK)
    click = _json_click(line) if line.startswith(b"{") else _combined_click(line)
    if _UNSENDABLE.search(click.user_agent) or _UNSENDABLE.search(click.referrer):
        raise _Skipped(CONTROL_CHARACTER)
    return click


def _combined_click(line: bytes) -> LogClick:
    found = _COMBINED.match(line)
    if found is None:
        raise _Skipped(OTHER_FORMAT)
    ip, day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, request, referrer, agent = (
        found.groups()
    )
    words = request.split(b" ")
    if len(words) < 2 or not words[0].isalpha() or (len(words) > 2 and not words[-1].startswith(b"HTTP/")):
        raise _Skipped(NO_REQUEST)
    _require_get(words[0].decode("ascii", "replace"))
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    try:
        zone = timezone(-offset if sign == b"-" else offset)
        # A leap second is written as 60, which datetime does not know.
        moment = datetime(
            int(year), _MONTHS.get(month, 0), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=zone
        )
        ts = moment.timestamp()
    except (ValueError, OverflowError):
        raise _Skipped(NO_TIME) from None
    path = b" ".join(words[1:-1]) if len(words) > 2 else words[1]
    return LogClick(ts, _address(ip.decode("ascii", "replace")), _field(agent), _field(referrer), _field(path))


def _field(raw: bytes) -> str:
    if raw == b"-":
        return ""
    if b"\\" in raw:
        raw = _ESCAPE.sub(_unescape, raw)
    return raw.decode("utf-8", "replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes((int(match[1], 16),))
    return _ESCAPED.get(match[2], match[2])


def _json_click(line: bytes) -> LogClick:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _Skipped(OTHER_FORMAT) from None
    texts: dict[str, str] = {}
    for name in ("ip", "ua", "path", "referer", "method"):
        value = fields.get(name)
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise _Skipped(OTHER_FORMAT)
        texts[name] = "" if value == "-" else value
    if not texts["path"]:
        raise _Skipped(NO_REQUEST)
    _require_get(texts["method"] or "GET")
    return LogClick(_moment(fields.get("ts")), _address(texts["ip"]), texts["ua"], texts["referer"], texts["path"])


def _require_get(method: str) -> None:
    if method != "GET":
        raise _Skipped(f"method {method}" if method in _METHODS else "another method")


def _moment(value: Any) -> float:
    """Seconds since 1970 of a number (seconds or milliseconds) or of ISO 8601 text, UTC where it names no zone."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
            value = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise _Skipped(NO_TIME) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Skipped(NO_TIME)
    seconds = value / 1000 if value >= _SECONDS_END else float(value)
    if not 0 <= seconds <= _LATEST:
        raise _Skipped(NO_TIME)
    return seconds


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        raise _Skipped(NO_ADDRESS) from None
