"""How a dead letter is shown: its payload as text without secrets or characters that steer a terminal. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from management.deadletters.masking import scrubbed
from shared.events import CLICK, POSTBACK, STRANGER

KINDS: Final = {CLICK: "click", POSTBACK: "postback", STRANGER: "stranger"}
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def kind_name(kind: int) -> str:
    return KINDS.get(kind, f"kind {kind}" if kind else "message")


def payload_text(payload: bytes) -> str:
    """The payload as one line of printable text, values of secret parameters and members masked."""
    return _printable(scrubbed(payload.decode("utf-8", "backslashreplace")))


def reason_text(reason: str) -> str:
    """The same for a reason, which may quote what it refused."""
    return _printable(scrubbed(reason))


def earliest(text: str, now: datetime) -> datetime:
    """The moment that `--since` means: `24h` before now, or a date or time (UTC unless it says otherwise).

    Raises ValueError.
    """
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        try:
            return now - timedelta(seconds=int(duration[1]) * _SECONDS[duration[2]])
        except OverflowError:
            raise ValueError("that is before all calendars") from None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def stream_range(prefix: str) -> tuple[bytes, bytes]:
    """The first and the last stream id whose hexadecimal digits begin so. Raises ValueError."""
    if not re.fullmatch(r"[0-9a-f]{1,32}", prefix.lower()):
        raise ValueError(f"{prefix!r} is no beginning of a stream id: up to 32 hexadecimal digits")
    return bytes.fromhex(prefix.lower().ljust(32, "0")), bytes.fromhex(prefix.lower().ljust(32, "f"))


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else " " if character in "\r\n\t" else ascii(character)[1:-1]
        for character in text
    )
