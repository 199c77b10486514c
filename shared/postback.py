"""What a conversion call says, read once: names, amounts, status, time; or the one reason why it is refused.

Serves the edge's postback endpoint and the API's conversions alike. Numbers of reasons never change meaning
(api-money.md 7.6).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from shared import money

STATUSES: Final = ("pending", "approved", "rejected", "refunded", "chargeback")
"""In order of rank: which of two calls of the same instant comes later."""
TAKING = frozenset(("rejected", "refunded", "chargeback"))
"""Statuses that take money away: an open call may not set them (X2)."""
MAX_TEXT = 128

ACCEPTED, DUPLICATE, UPDATED = 0, 1, 2
MISSING_CLICK_ID, INVALID_CLICK_ID, UNKNOWN_CLICK, CLICK_EXPIRED = 10, 11, 12, 13
INVALID_PAYOUT, UNEXPANDED_MACRO, UNKNOWN_STATUS, TRANSITION, INVALID_TRANSACTION_ID = 20, 21, 22, 23, 24
BAD_TOKEN, ADDRESS_NOT_ALLOWED, BAD_SIGNATURE, HELD_TAKING, HELD_PAYOUT = 30, 31, 32, 33, 34
SUSPENDED_ACCOUNT, DELETED_CAMPAIGN, WAITING = 40, 41, 60

REASONS: Final[dict[int, tuple[str, str]]] = {
    ACCEPTED: ("ACCEPTED", "accepted"),
    DUPLICATE: ("DUPLICATE", "a repeat of a conversion that is already there"),
    UPDATED: ("UPDATED", "changed the status or amount of a conversion"),
    MISSING_CLICK_ID: ("MISSING_CLICK_ID", "the call names no click id"),
    INVALID_CLICK_ID: ("INVALID_CLICK_ID", "the click id was not made by this installation"),
    UNKNOWN_CLICK: ("UNKNOWN_CLICK", "the click never arrived"),
    CLICK_EXPIRED: ("CLICK_EXPIRED", "the click is older than the attribution window"),
    INVALID_PAYOUT: ("INVALID_PAYOUT", "the payout is not a plain amount"),
    UNEXPANDED_MACRO: ("UNEXPANDED_MACRO", "a macro of the sender was not filled in"),
    UNKNOWN_STATUS: ("UNKNOWN_STATUS", "the status is not one of " + ", ".join(STATUSES)),
    TRANSITION: ("TRANSITION", "the conversion's state does not allow this status"),
    INVALID_TRANSACTION_ID: (
        "INVALID_TRANSACTION_ID",
        "the transaction id is too long or has control characters",
    ),
    BAD_TOKEN: ("BAD_TOKEN", "the token is missing or wrong"),
    ADDRESS_NOT_ALLOWED: ("ADDRESS_NOT_ALLOWED", "the sender's address is not on the campaign's list"),
    BAD_SIGNATURE: ("BAD_SIGNATURE", "the signature is missing, wrong or too old"),
    HELD_TAKING: ("HELD_TAKING", "held: takes money away over an open channel"),
    HELD_PAYOUT: ("HELD_PAYOUT", "held: the payout is above max_payout"),
    SUSPENDED_ACCOUNT: ("SUSPENDED_ACCOUNT", "accepted while the account is suspended"),
    DELETED_CAMPAIGN: ("DELETED_CAMPAIGN", "accepted for a deleted campaign inside its window"),
    WAITING: ("WAITING", "waiting for its click"),
}
EFFECTIVE = frozenset((ACCEPTED, DUPLICATE, UPDATED, SUSPENDED_ACCOUNT, DELETED_CAMPAIGN, WAITING))
"""Reasons whose call takes part in its conversion's state."""

_NAMES = {
    "clickid": "click_id", "cid": "click_id", "subid": "click_id", "cnvid": "click_id", "hit": "click_id",
    "payout": "payout", "txid": "transaction_id", "transactionid": "transaction_id", "status": "status",
    "event": "event", "currency": "currency", "time": "time", "token": "token", "return": "return",
    "ts": "ts", "nonce": "nonce", "sig": "sig",
}  # fmt: skip
_MACRO = re.compile(r"[{}]|\$\{|%%|\[[A-Za-z_]+\]|#[a-z_]+#")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RETURN = re.compile(r"[A-Za-z0-9_ .=;-]{1,32}")
_SKEW_MS = 300_000


class RefusedPostback(ValueError):
    """The call cannot be taken; `reason` is its number in REASONS."""

    def __init__(self, reason: int, field: str) -> None:
        super().__init__(REASONS[reason][1])
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True)
class PostbackCall:
    """A well-formed call. `payout` None: the campaign's default counts; `time_ms` None: the arrival counts."""

    click_id: str
    event: str
    transaction_id: str
    status: str
    payout: Decimal | None
    currency: str | None
    time_ms: int | None


def named(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The parameters by our names; names compared without case, `_` and `-`; the first of a name wins (X14)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        ours = _NAMES.get(name.lower().replace("_", "").replace("-", ""))
        if ours is not None and (ours not in found or not found[ours]):
            found.setdefault(ours, value)
            if not found[ours]:
                found[ours] = value
    return found


def read(fields: dict[str, str], now_ms: int) -> PostbackCall:
    """The call behind `fields` (of `named`); raises RefusedPostback for the first thing that is wrong."""
    click_id = fields.get("click_id", "").strip()
    if not click_id:
        raise RefusedPostback(MISSING_CLICK_ID, "clickid")
    for name in ("click_id", "payout", "transaction_id", "status", "event", "currency", "time"):
        if _MACRO.search(fields.get(name, "")):
            raise RefusedPostback(UNEXPANDED_MACRO, name)
    payout_text = fields.get("payout", "").strip()
    payout = money.parse_payout(payout_text) if payout_text else None
    if payout_text and payout is None:
        raise RefusedPostback(INVALID_PAYOUT, "payout")
    status = fields.get("status", "").strip().lower() or "approved"
    if status not in STATUSES:
        raise RefusedPostback(UNKNOWN_STATUS, "status")
    if payout is not None and payout < 0 and status not in ("refunded", "chargeback"):
        raise RefusedPostback(INVALID_PAYOUT, "payout")
    transaction_id = fields.get("transaction_id", "").strip()
    event = fields.get("event", "").strip()
    for text in (transaction_id, event):
        if len(text) > MAX_TEXT or _CONTROL.search(text):
            raise RefusedPostback(INVALID_TRANSACTION_ID, "transaction_id" if text is transaction_id else "event")
    currency = fields.get("currency", "").strip().upper() or None
    if currency is not None and (len(currency) != 3 or not currency.isascii() or not currency.isalpha()):
        currency = None
    return PostbackCall(
        click_id, event, transaction_id, status, payout, currency, event_time(fields.get("time", ""), now_ms)
    )


def event_time(text: str, now_ms: int) -> int | None:
    """`time=` in ms: epoch seconds, epoch ms or ISO 8601; None (the arrival counts) when unusable or in the future."""
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) in (9, 10, 13):
        moment = int(text) if len(text) == 13 else int(text) * 1000
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            return None
        moment = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    return moment if 0 <= moment <= now_ms + _SKEW_MS else None


def plain_answer(fields: dict[str, str]) -> str | None:
    """The text that `return=` asks for instead of JSON, or None."""
    wanted = fields.get("return", "")
    return wanted if _RETURN.fullmatch(wanted) else None
