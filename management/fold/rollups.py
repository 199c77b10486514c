"""What a conversion adds to the roll-ups, and the differences when it changes. Pure.

A conversion stands in two rows: at its own time (basis 0) and at its click's (basis 1).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Final, NamedTuple

BUCKET: Final = timedelta(minutes=15)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Sums of amounts with at most 14 decimals: exact up to 10^26 of any currency.
_EXACT = Context(prec=40)
_COLUMN = {"approved": 0, "pending": 1, "rejected": 2, "refunded": 2, "chargeback": 2}


class Bucket(NamedTuple):
    """One row of r15."""

    account_id: int
    campaign_id: int
    bucket: datetime
    basis: int
    traffic_class: int
    fraud: int
    outcome: int


@dataclass(frozen=True, slots=True)
class Counted:
    """A conversion as the roll-ups see it."""

    account_id: int
    campaign_id: int
    status: str
    payout: Decimal
    cost: Decimal
    click_at: datetime
    converted_at: datetime
    traffic_class: int
    fraud: int
    outcome: int


@dataclass(slots=True)
class Amounts:
    """What is added to a row: conversions and their payouts, each approved, pending and rejected; and the cost."""

    counts: list[int] = field(default_factory=lambda: [0, 0, 0])
    payouts: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * 3)
    cost: Decimal = Decimal(0)

    def __bool__(self) -> bool:
        return any(self.counts) or any(self.payouts) or bool(self.cost)


def bucket_of(moment: datetime) -> datetime:
    """The quarter hour, in UTC, that `moment` lies in."""
    return _EPOCH + (moment - _EPOCH) // BUCKET * BUCKET


def differences(changes: Iterable[tuple[Counted | None, Counted]]) -> dict[Bucket, Amounts]:
    """Rows of r15 and what to add to each, for conversions (as counted so far, as they are now)."""
    rows: dict[Bucket, Amounts] = {}
    for old, new in changes:
        if old is not None:
            _add(rows, old, -1)
        _add(rows, new, 1)
    return {bucket: amounts for bucket, amounts in rows.items() if amounts}


def _add(rows: dict[Bucket, Amounts], conversion: Counted, sign: int) -> None:
    column = _COLUMN[conversion.status]
    for basis, moment in ((0, conversion.converted_at), (1, conversion.click_at)):
        key = Bucket(
            conversion.account_id,
            conversion.campaign_id,
            bucket_of(moment),
            basis,
            conversion.traffic_class,
            conversion.fraud,
            conversion.outcome,
        )
        amounts = rows.setdefault(key, Amounts())
        amounts.counts[column] += sign
        amounts.payouts[column] = _EXACT.fma(sign, conversion.payout, amounts.payouts[column])
        amounts.cost = _EXACT.fma(sign, conversion.cost, amounts.cost)
