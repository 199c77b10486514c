"""Money: decimals as text on the wire, whole nano-units where clicks are summed. Never binary floats.

A click's cost is a whole number of nano-units (10^-9): a cost_value has up to 6 decimals and cpm divides it by
1,000, so every click cost is exact.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Final

NANO = 1_000_000_000
_PAYOUT = re.compile(r"-?\d{1,12}(\.\d{1,6})?")
_NANOS: Final[tuple[int, ...]] = tuple(10 ** (9 - places) for places in range(7))
"""Nano-units of the last of so many decimal places."""
_EXACT = Context(prec=40)
_CENTS_OF = {2: Decimal("0.01"), 4: Decimal("0.0001")}


def parse_payout(text: str) -> Decimal | None:
    """The amount, or None when `text` is no payout (api.md section 1)."""
    return Decimal(text) if _PAYOUT.fullmatch(text) and text.isascii() else None


def parse_link_cost(text: str) -> int | None:
    """`cost=` of a link in nano-units, or None when it is not written as a plain amount."""
    # By hand, not by pattern: every click with a cost comes through here, and this takes half the time.
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or not 0 < len(whole) <= 6 or len(fraction) > 6:
        return None
    if point and not fraction:
        return None
    return int(digits) * _NANOS[len(fraction)]


def click_cost(model: str | None, value: Decimal | None) -> int:
    """What one click costs in nano-units; cpa and revshare cost nothing until a conversion is approved."""
    if value is None or model not in ("cpc", "cpm"):
        return 0
    return int(value * NANO) if model == "cpc" else int(value * NANO / 1000)


def nanos_to_decimal(nanos: int | Decimal) -> Decimal:
    """Whole nano-units as an amount, exact for sums of up to 10^31 units."""
    return Decimal(nanos).scaleb(-9, _EXACT)


def figure(value: Decimal, *, places: int = 4) -> str:
    """`value` as a JSON number with 2 to 4 decimals, rounded once, half up; zeros beyond the second dropped."""
    rounded = value.quantize(_CENTS_OF[places], ROUND_HALF_UP, _EXACT)
    text = f"{abs(rounded) if rounded == 0 else rounded:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def amount(value: Decimal) -> str:
    """A stored amount as a JSON number: as it was written, with at least 2 decimals and at most 6."""
    whole, _, fraction = f"{value:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
