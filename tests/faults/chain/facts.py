"""What Postgres holds of a run, as the judge compares it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple


class StoredClick(NamedTuple):
    """One row of `clicks`, with what its `details` repeat of the request; `location` is where the visitor was sent."""

    click_id: bytes
    campaign_id: int
    ts: datetime
    mode: int
    bucket: tuple[int, int, int]  # class, fraud, outcome
    cost: int
    sub1: str
    sub2: str
    external_id: str
    agent: str
    language: str
    ip: str
    location: str


class StoredConversion(NamedTuple):
    click_id: bytes
    campaign_id: int
    transaction: str
    status: str
    payout: Decimal
    bucket: tuple[int, int, int]
    converted_at: datetime


class Label(NamedTuple):
    click_id: bytes
    is_unique: bool


class Rollup(NamedTuple):
    """One row of `r15`, or what it must be."""

    campaign_id: int
    bucket: datetime
    basis: int
    verdict: tuple[int, int, int]


Sums = tuple[Decimal, ...]
"""Clicks, unique ones, their cost, approved conversions, their revenue."""
NOTHING: Final[Sums] = (Decimal(0),) * 5


@dataclass
class Stored:
    """All that Postgres holds of a run. `campaigns`: ids in the order of `Asked.campaign`."""

    campaigns: Sequence[int]
    clicks: list[StoredClick] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    postbacks: Counter[str] = field(default_factory=Counter)  # transaction id → accepted calls
    conversions: list[StoredConversion] = field(default_factory=list)
    rollups: dict[Rollup, Sums] = field(default_factory=dict)
    account_differences: list[str] = field(default_factory=list)  # rows of account_sums that r15 does not add up to
    dead_letters: list[tuple[bytes, int]] = field(default_factory=list)
    lost: int = 0  # records and clicks declared lost
    not_folded: int = 0
