"""What an edge must know of campaigns and accounts to answer a link or a postback: the routing table's rows.

Written by the management side (one Redis hash field per campaign or account), read by every edge. An edge that knows
the table of a generation up to a version asks the log for what changed since; any other edge reads all rows.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, Self, TypeVar

import orjson

REDIS_CAMPAIGNS = "milepost:campaigns"
"""Hash: campaign id → CampaignRow."""
REDIS_ACCOUNTS = "milepost:accounts"
"""Hash: account id → AccountRow."""
REDIS_SALTS = "milepost:salts"
"""Hash: UTC day YYYY-MM-DD → 64 hex digits."""
REDIS_VERSION = "milepost:version"
"""The routing_version that the hashes above are complete for; absent = never filled. A row may be newer."""
REDIS_GENERATION = "milepost:generation"
"""Random text of the moment when the whole table was last written; absent = never filled."""
REDIS_LOG = "milepost:log"
"""Sorted set: `c:` + campaign id or `a:` + account id, by the version of its last change. Each has one place, so every
change after `REDIS_LOG_FROM` is in the part above it, also where one campaign changed twice."""
REDIS_LOG_FROM = "milepost:log-from"
"""Changes up to this version may be missing in the log."""
REDIS_SUPERSEDES = "milepost:supersedes"
"""Versions up to this one were seen that Postgres does not have (it came back with an older state): an edge that holds
such a version takes the lower one of this generation all the same."""
REDIS_EDGES = "milepost:edges"
"""Hash: edge worker's stream id → JSON {version, generation, at (ms of Redis' clock)}, written after a table was taken
into use and every second."""
LOG_ROWS = 10_000
"""Campaigns and accounts in the log; an edge further behind reads all rows."""
CAMPAIGN_KEY = b"c:"
ACCOUNT_KEY = b"a:"

MAX_CLICK_COST = "100"
"""Largest `cost=` that a link may carry where the campaign sets no other limit (X11)."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """`status` is active or suspended; `version` is the routing_version of its last change."""

    id: int
    version: int
    status: str = "active"
    fallback_url: str | None = None
    currency: str = "USD"

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Raises ValueError or TypeError for a row that is not whole."""
        return _checked(cls(**_shared(_known(cls, orjson.loads(raw)))))

    def to_json(self) -> bytes:
        return orjson.dumps(self)


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """One campaign. Amounts are decimal text; `click_cost` is in nano-units (shared.money).

    `status` is active, paused, inactive or deleted; a deleted one answers postbacks only.
    """

    id: int
    uuid: str
    account_id: int
    version: int
    name: str
    status: str = "active"
    destination_url: str | None = None
    fallback_url: str | None = None
    bot_action: str = "pass"
    cost_model: str | None = None
    cost_value: str | None = None
    click_cost: int = 0
    cost_param: str | None = None
    max_click_cost: str = MAX_CLICK_COST
    click_id_param: str | None = None
    sub_params: dict[str, str] = field(default_factory=dict)
    attribution_window_hours: int = 720
    default_payout: str | None = None
    max_payout: str | None = None
    duplicate_mode: str = "ignore"
    postback_security: str = "open"
    postback_tokens: tuple[str, ...] = ()
    allowed_ips: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Raises ValueError or TypeError for a row that is not whole."""
        values = _shared(_known(cls, orjson.loads(raw)))
        for name in ("postback_tokens", "allowed_ips"):
            values[name] = tuple(values.get(name, ()))
        return _checked(cls(**values))

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    def payout_limit(self) -> Decimal:
        """Above it an open call is held: `max_payout`, else 10 × the default payout, else 1,000 (X2)."""
        if self.max_payout is not None:
            return Decimal(self.max_payout)
        return Decimal(self.default_payout) * 10 if self.default_payout is not None else Decimal(1000)


Row = TypeVar("Row", bound=AccountRow | CampaignRow)


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _texts(value: Any) -> bool:
    return all(isinstance(text, str) for text in value)


def _amount(value: Any) -> bool:
    try:
        return value is None or (isinstance(value, str) and Decimal(value).is_finite())
    except InvalidOperation:
        return False


_ID = _whole(1, 2**31 - 1)
_SHAPES: Final[dict[str, Callable[[Any], bool]]] = {
    "id": _ID, "account_id": _ID, "version": _whole(0, 2**63 - 1), "click_cost": _whole(0, 2**62),
    "attribution_window_hours": _whole(0, 2**31 - 1),
    "uuid": _text, "name": _text, "status": _text, "bot_action": _text, "duplicate_mode": _text,
    "postback_security": _text, "currency": _text,
    "destination_url": _text_or_none, "fallback_url": _text_or_none, "cost_model": _text_or_none,
    "cost_param": _text_or_none, "click_id_param": _text_or_none,
    "cost_value": _amount, "default_payout": _amount, "max_payout": _amount,
    "max_click_cost": lambda value: value is not None and _amount(value),
    "sub_params": lambda value: isinstance(value, dict) and _texts(value) and _texts(value.values()),
    "postback_tokens": _texts, "allowed_ips": _texts,
}  # fmt: skip
"""By field: what an edge may rely on. A row that a later version, or somebody's hand, wrote otherwise is left out
when it is loaded, not when a visitor comes."""


def _checked(row: Row) -> Row:
    for name in row.__dataclass_fields__:
        if not _SHAPES[name](getattr(row, name)):
            raise ValueError(f"{name} is not what it must be")
    return row


_COMMON: Final = frozenset(
    (
        "status", "currency", "bot_action", "cost_model", "cost_value", "cost_param", "max_click_cost",
        "click_id_param", "default_payout", "max_payout", "duplicate_mode", "postback_security",
    )
)  # fmt: skip
"""Texts that many campaigns have alike; of 100,000 campaigns they would be 70 MB."""


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, where rows have them alike the same objects."""
    for name, value in values.items():
        if type(value) is str and name in _COMMON:
            values[name] = sys.intern(value)
        elif type(value) is dict:
            try:
                values[name] = _one_mapping(tuple(value.items()))
            except TypeError:
                continue  # nested: `_checked` refuses it
    return values


@lru_cache(maxsize=1024)
def _one_mapping(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return {sys.intern(name): value for name, value in pairs}


def _known(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """Drop fields of a later version, so that an older edge keeps serving during an upgrade."""
    names = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: value for name, value in values.items() if name in names}
