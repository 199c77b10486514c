"""The kinds of field that queries and bodies share: how each is read, what it says when it cannot be, its schema.

A check raises Unfit with the end of a sentence that begins "The <field> field", or NoSuchChoice.
"""

import functools
import re
import zoneinfo
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema

MAX_ID: Final = 2**31 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WHOLE = re.compile(r"[0-9]{1,18}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


class Unfit(ValueError):
    """The value does not fit; the text completes "The <field> field …"."""


class NoSuchChoice(Unfit):
    """The value is well-formed but names nothing: "The selected <field> is invalid"."""


class Missing(Unfit):
    """Empty where something must stand: "The <field> field is required"."""


class Body(BaseModel):
    """A JSON body: strict types, no unknown names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Query(BaseModel):
    """Query parameters; names that are not fields were taken out before."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=False)


def text(limit: int, *, required: bool = False) -> Callable[[Any], str]:
    """Trimmed text of at most `limit` characters without control characters."""

    def check(value: Any) -> str:
        if value is None and required:
            raise Missing
        if not isinstance(value, str):
            raise Unfit("must be a string")
        trimmed = value.strip()
        if required and not trimmed:
            raise Missing
        if len(trimmed) > limit:
            raise Unfit(f"may not be longer than {limit} characters")
        if _CONTROL.search(trimmed):
            raise Unfit("may not contain control characters")
        return trimmed

    return check


def decimal(limit: Decimal, *, signed: bool = False) -> Callable[[Any], Decimal]:
    """A JSON number from 0 (or −limit) to `limit` with at most 6 decimals."""

    def check(value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise Unfit("must be a number")
        number = Decimal(value)
        if number < 0 and not signed:
            raise Unfit("may not be negative")
        if number.copy_abs() > limit:  # abs() would round to the context and may overflow
            raise Unfit(f"may not be greater than {limit:f}")
        places = number.as_tuple()
        exponent = places.exponent if isinstance(places.exponent, int) else 0
        significant = len("".join(map(str, places.digits)).rstrip("0"))
        if significant and exponent + len(places.digits) - significant < -6:
            raise Unfit("may not have more than 6 decimals")
        return number.quantize(Decimal("0.000001"))

    return check


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number written in a query: digits only."""

    def check(value: Any) -> int:
        if not isinstance(value, str) or _WHOLE.fullmatch(value) is None or not low <= int(value) <= high:
            raise Unfit(f"must be a whole number from {low} to {high}")
        return int(value)

    return check


def _campaign_id(value: Any) -> int:
    number = whole(1, 10**18)(value)
    # An id that no row can have finds nothing, like any other missing one.
    return number if number <= MAX_ID else 0


def _day(value: Any) -> date:
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise Unfit("must be a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise Unfit("must be a date that exists") from None


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zone for zone in zoneinfo.available_timezones() if zone != "localtime")


def _time_zone(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("must be a string")
    if value not in _zones():
        raise NoSuchChoice
    return value


def _email(value: Any) -> str:
    address = text(254, required=True)(value)
    if _EMAIL.fullmatch(address) is None:
        raise Unfit("must be an e-mail address")
    return address.lower()


def _currency(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z]{3}", value) is None:
        raise Unfit("must be a currency code of three letters")
    return value.upper()


def _password(value: Any) -> str:
    # Never trimmed, never echoed; the bound keeps a hash from being fed a megabyte.
    if value is None or value == "":
        raise Missing
    if not isinstance(value, str):
        raise Unfit("must be a string")
    if len(value) > 1024:
        raise Unfit("may not be longer than 1024 characters")
    return value


_MONEY_LIMIT = Decimal("999999999999.999999")
_MONEY_SCHEMA: dict[str, Any] = {"type": "number", "minimum": 0, "multipleOf": 0.000001, "examples": [0.5]}

Day = Annotated[date, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
CampaignId = Annotated[
    int, PlainValidator(_campaign_id), WithJsonSchema({"type": "integer", "minimum": 1, "examples": [1]})
]
Email = Annotated[str, PlainValidator(_email), WithJsonSchema({"type": "string", "format": "email", "maxLength": 254})]
Password = Annotated[str, PlainValidator(_password), WithJsonSchema({"type": "string", "format": "password"})]
Currency = Annotated[
    str, PlainValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["USD"]})
]
TimeZone = Annotated[str, PlainValidator(_time_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})]
Name = Annotated[
    str, PlainValidator(text(255, required=True)), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 255})
]
Amount = Annotated[Decimal, PlainValidator(decimal(_MONEY_LIMIT)), WithJsonSchema(_MONEY_SCHEMA)]
SignedAmount = Annotated[
    Decimal,
    PlainValidator(decimal(_MONEY_LIMIT, signed=True)),
    WithJsonSchema({"type": "number", "multipleOf": 0.000001, "examples": [45.0]}),
]
