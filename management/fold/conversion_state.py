"""What the postbacks of one key make of its conversion (api-money.md 7.5, security.md X2). Pure.

The state is a function of the set of calls: they are ordered by `time=` (else arrival), rank of status, stream and
seq, and read one after the other. So it does not matter in which order they arrive or how often one comes.

Calls that proved themselves and open ones are kept apart: `firm` is what trusted calls made of the conversion, `shown`
is that, or what open calls made of it since. A trusted call always goes on from `firm`, so nothing that anybody can
send keeps it from counting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Final

from shared.postback import ACCEPTED, DUPLICATE, HELD_TAKING, STATUSES, TAKING, TRANSITION, UPDATED

CREATABLE: Final = frozenset(("pending", "approved", "rejected"))
NEXT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "pending": frozenset(("approved", "rejected")),
        "approved": frozenset(("rejected", "refunded", "chargeback")),
        "rejected": frozenset(),
        "refunded": frozenset(),
        "chargeback": frozenset(),
    }
)
"""Where a trusted postback may take a conversion from a status."""
_OPEN: Final = frozenset(("pending", "approved"))
_RANK = {status: rank for rank, status in enumerate(STATUSES)}
# A payout has 18 digits and so has a percentage: their product is exact.
_EXACT = Context(prec=40)
_PERCENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Call:
    """One postback that takes part. `happened_at` is its `time=`, else its arrival; amounts in `currency`."""

    id: bytes
    happened_at: datetime
    arrived_at: datetime
    stream: bytes
    seq: int
    status: str
    payout: Decimal | None
    default_payout: Decimal | None
    currency: str
    trusted: bool
    duplicate_mode: str
    cost_model: str | None
    cost_value: Decimal | None
    origin: str

    @property
    def order(self) -> tuple[datetime, int, bytes, int]:
        return (self.happened_at, _RANK[self.status], self.stream, self.seq)

    @property
    def amount(self) -> Decimal:
        """What it is worth alone: its payout, else the campaign's default, else nothing."""
        return next((value for value in (self.payout, self.default_payout) if value is not None), Decimal(0))


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the calls add up to. The cost model is the one in force at the call that made it."""

    status: str
    original_status: str
    payout: Decimal
    currency: str
    converted_at: datetime
    created_at: datetime
    origin: str
    cost_model: str | None
    cost_value: Decimal | None


@dataclass(frozen=True, slots=True)
class Settled:
    """`conversion` None: no call was allowed to make one. `reasons`: call id → what became of it."""

    conversion: Conversion | None
    reasons: dict[bytes, int]


def settle(calls: Iterable[Call]) -> Settled:
    """The conversion behind all effective calls of one key, in whatever order they are given."""
    firm: Conversion | None = None
    shown: Conversion | None = None
    reasons: dict[bytes, int] = {}
    for call in sorted(calls, key=lambda call: call.order):
        if call.trusted:
            reason, made = _trusted(call, firm, shown)
            if made is not None:
                firm = shown = made
        else:
            reason, made = _open(call, firm, shown)
            if made is not None:
                shown = made
        reasons[call.id] = reason
    return Settled(shown, reasons)


def conversion_cost(conversion: Conversion, *, from_link: bool) -> Decimal:
    """What it costs beyond its click: nothing while it is not approved, nor when the click's cost came by its link."""
    if conversion.status != "approved" or from_link or conversion.cost_value is None:
        return Decimal(0)
    if conversion.cost_model == "cpa":
        return conversion.cost_value
    if conversion.cost_model == "revshare":
        return _EXACT.multiply(_EXACT.multiply(conversion.payout, conversion.cost_value), _PERCENT)
    return Decimal(0)


def _trusted(call: Call, firm: Conversion | None, shown: Conversion | None) -> tuple[int, Conversion | None]:
    if firm is not None:
        return _apply(call, firm)
    if call.status in CREATABLE:
        made = _create(call)
        if shown is None:
            return ACCEPTED, made
        # Replaces what open calls made, at the time of the first call; what it takes away is what had been shown.
        made = replace(made, converted_at=shown.converted_at, created_at=shown.created_at)
        if call.status in TAKING:
            made = replace(made, payout=shown.payout, currency=shown.currency)
        same = (made.status, made.payout, made.currency) == (shown.status, shown.payout, shown.currency)
        return DUPLICATE if same else UPDATED, made
    return (TRANSITION, None) if shown is None else _apply(call, shown)


def _apply(call: Call, state: Conversion) -> tuple[int, Conversion | None]:
    """A call on a conversion that it may change by the table and by its duplicate mode."""
    if call.status != state.status:
        if call.status not in NEXT[state.status]:
            return TRANSITION, None
        changed = replace(state, status=call.status)
        # A reversal restates the day of the conversion: the amount it reverses must stay known.
        if call.status not in TAKING and call.payout is not None:
            changed = replace(changed, payout=call.payout, currency=call.currency)
        return UPDATED, changed
    payout = state.payout
    if call.status not in TAKING:
        if call.duplicate_mode == "add":
            payout += call.amount
        elif call.duplicate_mode == "update" and call.payout is not None:
            payout = call.payout
    if payout == state.payout:
        return DUPLICATE, None
    return UPDATED, replace(state, payout=payout, currency=call.currency)


def _open(call: Call, firm: Conversion | None, shown: Conversion | None) -> tuple[int, Conversion | None]:
    if call.status not in _OPEN:
        return HELD_TAKING, None
    if shown is None:
        return ACCEPTED, _create(call)
    if call.status != shown.status and (shown.status, call.status) != ("pending", "approved"):
        return HELD_TAKING, None
    lowers = call.payout is not None and call.payout < shown.payout
    if lowers and (call.status != shown.status or call.duplicate_mode == "update"):
        return HELD_TAKING, None
    if firm is None:
        return _apply(call, shown)
    # Over a trusted amount it has no say.
    return (DUPLICATE, None) if call.status == shown.status else (UPDATED, replace(shown, status=call.status))


def _create(call: Call) -> Conversion:
    return Conversion(
        status=call.status,
        original_status=call.status,
        payout=call.amount,
        currency=call.currency,
        converted_at=call.happened_at,
        created_at=call.arrived_at,
        origin=call.origin,
        cost_model=call.cost_model,
        cost_value=call.cost_value,
    )
