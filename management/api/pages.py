"""Pages of lists: strict numbers, exact or bounded totals, and cursors that only we can write."""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import PlainValidator, WithJsonSchema

from management.api.fields import Query, whole
from management.errors import USE_CURSOR, Refusal, invalid_field
from shared.ids import KeyRing

MAX_PER_PAGE: Final = 100
MAX_OFFSET: Final = 100_000
COUNTED: Final = 10_000
"""Rows that a list counts one by one; beyond them the total is a lower bound."""

Page = Annotated[
    int, PlainValidator(whole(1, 1_000_000_000)), WithJsonSchema({"type": "integer", "minimum": 1, "default": 1})
]
PerPage = Annotated[
    int,
    PlainValidator(whole(1, MAX_PER_PAGE)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_PER_PAGE, "default": 20}),
]


class PageQuery(Query):
    """`page` and `per_page` of every list."""

    page: Page = 1
    per_page: PerPage = 20

    @property
    def offset(self) -> int:
        """Rows before this page; refused where only a cursor reads in bounded time."""
        if self.page * self.per_page > MAX_OFFSET:
            raise Refusal(USE_CURSOR)
        return (self.page - 1) * self.per_page


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows there are; beyond COUNTED possibly only that there are more."""

    rows: int
    is_lower_bound: bool = False

    @classmethod
    def counted(cls, rows: int) -> "Total":
        """Of a count that stopped one row above COUNTED."""
        return cls(COUNTED, True) if rows > COUNTED else cls(rows)


def page_meta(query: PageQuery, total: Total, **more: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"page": query.page, "per_page": query.per_page, "total": total.rows}
    if total.is_lower_bound:
        meta["total_is_lower_bound"] = True
    return meta | more


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page in a list ordered by (time, id), newest first."""

    ts: datetime
    row_id: bytes


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAG_BYTES = 12


class Cursors:
    """Makes and reads cursors, each valid for one account and one list."""

    def __init__(self, ring: KeyRing) -> None:
        self._keys = ring.subkeys("cursor")
        self._number = ring.signing.number

    def write(self, account_id: int, list_name: str, position: Position) -> str:
        micros = (position.ts - _EPOCH) // timedelta(microseconds=1)
        body = bytes((self._number,)) + micros.to_bytes(8, "big", signed=True) + position.row_id
        return base64.urlsafe_b64encode(body + self._tag(self._number, account_id, list_name, body)).decode()

    def read(self, account_id: int, list_name: str, text: str) -> Position:
        """Raises Refusal (400) for anything this account did not get from this list."""
        refused = invalid_field("cursor", "The selected cursor is invalid")
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise refused from None
        if not 9 + _TAG_BYTES < len(raw) <= 128 or raw[0] not in self._keys:
            raise refused
        body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(raw[0], account_id, list_name, body)):
            raise refused
        return Position(_EPOCH + timedelta(microseconds=int.from_bytes(body[1:9], "big", signed=True)), body[9:])

    def _tag(self, number: int, account_id: int, list_name: str, body: bytes) -> bytes:
        context = f"{account_id} {list_name} ".encode()
        return hashlib.blake2b(context + body, key=self._keys[number], digest_size=_TAG_BYTES).digest()
