"""The routing table in memory: what an edge knows of campaigns, accounts and salts, ready for the click path.

Pure. A whole table is built in steps beside the one in use and then takes its place (edge.routing_table does both); a
change is read beside it and put in between two steps of the loop.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final

from edge.macro_values import Destination
from edge.parse import TrafficSource
from edge.salts import Salts
from shared.campaigns import ACCOUNT_KEY, CAMPAIGN_KEY, AccountRow, CampaignRow
from shared.macros import MacroError

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

RawRow = tuple[bytes, bytes]
"""A row as it travels and lies on disk: its key (`c:7`, `a:1`) and its JSON text."""


class Account:
    """One account and its compiled fallback."""

    __slots__ = ("currency", "fallback", "fingerprint", "id", "suspended", "version")

    def __init__(self, row: AccountRow, fingerprint: int = 0) -> None:
        """`fingerprint` is the hash of the text it was read from."""
        self.id = row.id
        self.version = row.version
        self.fingerprint = fingerprint
        self.suspended = row.status == "suspended"
        self.currency = row.currency
        self.fallback = _compiled(row.fallback_url)


class Campaign:
    """One campaign with everything that a click or a postback needs of it worked out beforehand."""

    __slots__ = (
        "account_id", "allowed", "destination", "fallback", "fingerprint", "id", "key_part", "row", "source", "status",
        "version",
    )  # fmt: skip

    def __init__(self, row: CampaignRow, fingerprint: int = 0) -> None:
        """`fingerprint` is the hash of the text it was read from."""
        self.row: CampaignRow = row
        self.id: int = row.id
        self.version = row.version
        self.fingerprint = fingerprint
        self.account_id = row.account_id
        self.status = row.status
        self.destination = _compiled(row.destination_url)
        self.fallback = _compiled(row.fallback_url)
        self.source = TrafficSource.of(row)
        self.key_part = str(row.id).encode()
        self.allowed = tuple(network for text in row.allowed_ips if (network := _network(text)) is not None)


Entry = Campaign | Account


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


def read_row(key: bytes, text: bytes) -> Entry | None:
    """The row compiled, or None when it cannot be read whole or is of no known kind."""
    try:
        if key.startswith(CAMPAIGN_KEY):
            return Campaign(CampaignRow.from_json(text), hash(text))
        if key.startswith(ACCOUNT_KEY):
            return Account(AccountRow.from_json(text), hash(text))
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return None


class Table:
    """All rows, complete for `version` of `generation`; some may be newer.

    Changed by `apply` alone, which awaits nothing: whoever reads it between two awaits sees one state.
    """

    __slots__ = ("_unreadable", "accounts", "by_id", "by_uuid", "generation", "salts", "version")

    def __init__(self, generation: str, version: int, salts: Salts) -> None:
        """An empty one. `generation` is "" when it is not known: then all rows are read as soon as Redis is there."""
        self.generation = generation
        self.version = version
        self.salts = salts
        self.by_id: dict[int, Campaign] = {}
        self.by_uuid: dict[str, Campaign] = {}
        self.accounts: dict[int, Account] = {}
        self._unreadable: set[bytes] = set()

    @property
    def unreadable(self) -> int:
        """Rows that could not be read and were left out."""
        return len(self._unreadable)

    def put(self, key: bytes, entry: Entry | None) -> None:
        """Take in what `read_row` gave for `key`. An older row never replaces a newer one."""
        if entry is None:
            self._leave_out(key)
            return
        self._unreadable.discard(key)
        if isinstance(entry, Account):
            held_account = self.accounts.get(entry.id)
            if held_account is None or held_account.version <= entry.version:
                self.accounts[entry.id] = entry
            return
        held = self.by_id.get(entry.id)
        if held is not None:
            if held.version > entry.version:
                return
            if held.row.uuid != entry.row.uuid and self.by_uuid.get(held.row.uuid) is held:
                del self.by_uuid[held.row.uuid]
        self.by_id[entry.id] = self.by_uuid[entry.row.uuid] = entry

    def _leave_out(self, key: bytes) -> None:
        self._unreadable.add(key)
        held = self.held(key)
        if isinstance(held, Account):
            del self.accounts[held.id]
        elif held is not None:
            del self.by_id[held.id]
            if self.by_uuid.get(held.row.uuid) is held:
                del self.by_uuid[held.row.uuid]

    def held(self, key: bytes) -> Entry | None:
        """What the table has under `key`."""
        if key.startswith(CAMPAIGN_KEY):
            return self.by_id.get(_number(key))
        return self.accounts.get(_number(key)) if key.startswith(ACCOUNT_KEY) else None

    def apply(self, changes: Iterable[tuple[bytes, Entry | None]], version: int, salts: Salts) -> None:
        """Take in all `changes` at once; the table is complete for `version` then."""
        for key, entry in changes:
            self.put(key, entry)
        self.version = version
        if salts.known != self.salts.known:
            self.salts = salts


def _number(key: bytes) -> int:
    digits = key[2:]
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else -1


_MOST_DIGITS: Final = 19


class TableBuilder:
    """Builds a whole table row by row; rows that did not change since the last one are taken over compiled."""

    def __init__(self, last: Table | None = None) -> None:
        self._last = last
        self._rows = Table("", 0, Salts({}, b""))
        self.compiled = 0
        """Rows that were new or changed."""

    def add(self, key: bytes, text: bytes) -> None:
        """One row; a second time for the same key the newer one counts."""
        entry = self._last.held(key) if self._last is not None else None
        if entry is None or entry.fingerprint != hash(text):
            entry = read_row(key, text)
            self.compiled += entry is not None
        self._rows.put(key, entry)

    def finish(self, generation: str, version: int, salts: Salts) -> Table:
        """The table of everything that was added."""
        table = self._rows
        table.generation, table.version, table.salts = generation, version, salts
        return table
