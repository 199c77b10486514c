"""The routing table in memory: what an edge knows of campaigns, accounts and salts, ready for the click path.

Pure. A table is built in steps beside the one in use and then takes its place whole (edge.routing_table does both).
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import orjson

from edge.macro_values import Destination
from edge.parse import TrafficSource
from shared.campaigns import AccountRow, CampaignRow
from shared.ids import next_salt
from shared.macros import MacroError

DAY_MS: Final = 86_400_000
_COMPILING_EFFORT: Final = 25
_STEP_EFFORT: Final = 1000
"""Taking a row over counts 1; a step is about 40 rows compiled or 1,000 taken over."""
_KEPT_SALT_DAYS = 2

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Account:
    """One account and its compiled fallback."""

    __slots__ = ("currency", "fallback", "id", "suspended")

    def __init__(self, row: AccountRow) -> None:
        self.id = row.id
        self.suspended = row.status == "suspended"
        self.currency = row.currency
        self.fallback = _compiled(row.fallback_url)


class Campaign:
    """One campaign with everything that a click or a postback needs of it worked out beforehand."""

    __slots__ = ("account_id", "allowed", "destination", "fallback", "id", "key_part", "row", "source", "status")

    def __init__(self, row: CampaignRow) -> None:
        self.row: CampaignRow = row
        self.id: int = row.id
        self.account_id = row.account_id
        self.status = row.status
        self.destination = _compiled(row.destination_url)
        self.fallback = _compiled(row.fallback_url)
        self.source = TrafficSource.of(row)
        self.key_part = str(row.id).encode()
        self.allowed = tuple(network for text in row.allowed_ips if (network := _network(text)) is not None)


def _compiled(url: str | None) -> Destination | None:
    # A URL that this edge cannot read (saved by a later version) must not become an open redirect: it counts as none.
    try:
        return Destination(url) if url else None
    except MacroError:
        return None


def _network(text: str) -> IpNetwork | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


class DaySalts(NamedTuple):
    """The salts that a click of one UTC day needs; `derived` when one of them had to be made here."""

    today: bytes
    yesterday: bytes
    derived: bool


class Salts:
    """Salts by UTC day (YYYY-MM-DD), and stand-ins for days whose salt never arrived."""

    def __init__(self, known: Mapping[str, bytes], origin: bytes) -> None:
        """`origin` is 32 random bytes of this process, from which salts are derived when none was ever received."""
        self.known = dict(known)
        self._origin = origin
        self._days: dict[int, DaySalts] = {}

    def of_day(self, day: int) -> DaySalts:
        """The salts for clicks of `day`, counted from 1970-01-01 UTC."""
        salts = self._days.get(day)
        if salts is None:
            today, today_derived = self._salt(_date(day))
            yesterday, yesterday_derived = self._salt(_date(day - 1))
            salts = DaySalts(today, yesterday, today_derived or yesterday_derived)
            if len(self._days) >= 8:
                self._days.clear()
            self._days[day] = salts
        return salts

    def _salt(self, date: str) -> tuple[bytes, bool]:
        salt = self.known.get(date)
        if salt is not None:
            return salt, False
        earlier = [known for known in self.known if known < date]
        return next_salt(self.known[max(earlier)] if earlier else self._origin, date), True

    def recent(self, day: int) -> dict[str, bytes]:
        """What may be kept on disk on `day`: salts at most 48 hours old, and else the last one, to derive from."""
        oldest = _date(day - _KEPT_SALT_DAYS)
        kept = {date: salt for date, salt in self.known.items() if date >= oldest}
        if not kept and self.known:
            last = max(self.known)
            kept[last] = self.known[last]
        return kept


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")


class Table:
    """A complete table of one version. Never changed after it was taken into use."""

    __slots__ = ("accounts", "by_id", "by_uuid", "rows", "salts", "unreadable", "version")

    def __init__(
        self,
        version: int,
        by_id: dict[int, Campaign],
        by_uuid: dict[str, Campaign],
        accounts: dict[int, Account],
        salts: Salts,
        rows: "dict[int, Campaign | Account]",
        unreadable: int,
    ) -> None:
        self.version = version
        self.by_id = by_id
        self.by_uuid = by_uuid
        self.accounts = accounts
        self.salts = salts
        self.rows = rows
        """By the hash of the text they were read from."""
        self.unreadable = unreadable
        """Rows that could not be read and were left out."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """The rows as they travel: JSON texts of campaigns and accounts, salts by day in hex."""

    version: int
    campaigns: list[bytes]
    accounts: list[bytes]
    salts: dict[str, str]

    def usable_salts(self) -> dict[str, bytes]:
        """The well-formed salts; one that is none is left out, so that another is derived in its place."""
        usable: dict[str, bytes] = {}
        for date, text in self.salts.items():
            try:
                salt = bytes.fromhex(text)
            except ValueError:
                continue
            if len(salt) == 32:
                usable[date] = salt
        return usable


class TableBuilder:
    """Builds the next table out of raw rows; rows that did not change since the last table are taken over as they
    are."""

    def __init__(self, raw: RawTable, last: Table | None, origin: bytes) -> None:
        self._raw = raw
        self._last_rows = last.rows if last is not None else {}
        self._salts = Salts(raw.usable_salts(), origin)
        self._unreadable = 0
        self.table: Table | None = None
        """The table, once `steps` is used up."""
        self.compiled = 0
        """Rows that were new or changed."""

    def steps(self) -> Iterator[None]:
        """Does the work in pieces of about half a millisecond."""
        rows: dict[int, Campaign | Account] = {}
        by_id: dict[int, Campaign] = {}
        by_uuid: dict[str, Campaign] = {}
        accounts: dict[int, Account] = {}
        effort = 0
        for texts, read in ((self._raw.campaigns, _read_campaign), (self._raw.accounts, _read_account)):
            for text in texts:
                fingerprint = hash(text)
                row = self._last_rows.get(fingerprint)
                if row is None:
                    effort += _COMPILING_EFFORT
                    row = self._read(text, read)
                if row is not None:
                    rows[fingerprint] = row
                    if isinstance(row, Campaign):
                        by_id[row.id] = by_uuid[row.row.uuid] = row
                    else:
                        accounts[row.id] = row
                effort += 1
                if effort >= _STEP_EFFORT:
                    effort = 0
                    yield
        self.table = Table(self._raw.version, by_id, by_uuid, accounts, self._salts, rows, self._unreadable)

    def _read(self, text: bytes, read: "Callable[[bytes], Campaign | Account]") -> "Campaign | Account | None":
        try:
            row = read(text)
        except (ValueError, TypeError, AttributeError, KeyError):
            self._unreadable += 1
            return None
        self.compiled += 1
        return row


def _read_campaign(text: bytes) -> Campaign:
    return Campaign(CampaignRow.from_json(text))


def _read_account(text: bytes) -> Account:
    return Account(AccountRow.from_json(text))


COPY_FORMAT: Final = 1


def encode_copy(raw: RawTable, day: int) -> bytes:
    """The copy on disk of `raw`, as it may be kept on `day`: JSON lines, so that no step reads the whole."""
    salts = {date: salt.hex() for date, salt in Salts(raw.usable_salts(), b"").recent(day).items()}
    head = {
        "format": COPY_FORMAT,
        "version": raw.version,
        "campaigns": len(raw.campaigns),
        "accounts": len(raw.accounts),
        "salts": salts,
    }
    return b"\n".join([orjson.dumps(head), *raw.campaigns, *raw.accounts, b""])


def decode_copy(content: bytes) -> RawTable:
    """What `encode_copy` wrote; raises ValueError with the reason when it is damaged or of another format."""
    lines = content.split(b"\n")
    head = orjson.loads(lines[0])
    if not isinstance(head, dict) or head.get("format") != COPY_FORMAT:
        raise ValueError("the copy has another format")
    campaigns, accounts = head["campaigns"], head["accounts"]
    if (
        not all(type(number) is int for number in (head["version"], campaigns, accounts))
        or min(campaigns, accounts) < 0
    ):
        raise ValueError("the copy has no version")
    if len(lines) != 1 + campaigns + accounts + 1:
        raise ValueError("the copy is not complete")
    rows = lines[1:]
    salts = {day: text for day, text in dict(head["salts"]).items() if isinstance(text, str)}
    return RawTable(head["version"], rows[:campaigns], rows[campaigns:-1], salts)
