"""Builders for the edge's unit tests: each gives a plain, valid thing, changed where a test says so."""

from dataclasses import dataclass
from typing import Any

import orjson

from edge.classify import AgentVerdict, NetworkVerdict, Verdict
from edge.click_request import ClickRequest
from edge.client_ip import ClientAddress, parse_address
from edge.salts import Salts, usable_salts
from edge.table import Account, Campaign, RawRow, Table, TableBuilder
from shared.campaigns import AccountRow, CampaignRow

SLUG = "4bfaec44-7f1c-4a3e-9d0b-2f3b1c5d6e7f"
DESTINATION = "https://shop.example/?c={clickid}"
NOON_MS = 1_790_000_000_000


def campaign_row(**changes: Any) -> CampaignRow:
    values: dict[str, Any] = {
        "id": 7,
        "uuid": SLUG,
        "account_id": 1,
        "version": 1,
        "name": "Spring sale",
        "destination_url": DESTINATION,
    }
    return CampaignRow(**values | changes)


def campaign(**changes: Any) -> Campaign:
    return Campaign(campaign_row(**changes))


def account(**changes: Any) -> Account:
    return Account(AccountRow(**{"id": 1, "version": 1} | changes))


@dataclass(frozen=True)
class RawTable:
    """Texts of rows as Redis holds them, salts by day in hex."""

    version: int
    campaigns: list[bytes]
    accounts: list[bytes]
    salts: dict[str, str]

    def rows(self) -> list[RawRow]:
        """With keys; of a text without an id one that names no row."""
        return [(_key(b"c:", text), text) for text in self.campaigns] + [
            (_key(b"a:", text), text) for text in self.accounts
        ]


def _key(prefix: bytes, text: bytes) -> bytes:
    try:
        return prefix + b"%d" % orjson.loads(text)["id"]
    except (ValueError, TypeError, KeyError, IndexError):
        return prefix + b"?" + text


def raw_table(
    *rows: CampaignRow, version: int = 1, accounts: tuple[AccountRow, ...] = (), salts: dict[str, str] | None = None
) -> RawTable:
    return RawTable(version, [row.to_json() for row in rows], [row.to_json() for row in accounts], salts or {})


def built(raw: RawTable, last: Table | None = None) -> tuple[Table, int]:
    """The table and how many rows were compiled for it."""
    builder = TableBuilder(last)
    for key, text in raw.rows():
        builder.add(key, text)
    return builder.finish("5eed", raw.version, Salts(usable_salts(raw.salts), b"o" * 32)), builder.compiled


def salts(**known: bytes) -> Salts:
    return Salts({day.replace("_", "-").removeprefix("d"): salt for day, salt in known.items()}, b"o" * 32)


def address(text: str = "203.0.113.77") -> ClientAddress:
    found = parse_address(text)
    assert found is not None
    return found


def agent_verdict(**changes: Any) -> AgentVerdict:
    values: dict[str, Any] = {
        "is_bot": False,
        "bot_kind": "",
        "bot_name": "",
        "publishes_ranges": False,
        "device": "mobile",
        "os": "Android",
        "os_version": "15",
        "browser": "Chrome",
        "browser_version": "130.0",
    }
    return AgentVerdict(**values | changes)


def network_verdict(**changes: Any) -> NetworkVerdict:
    values: dict[str, Any] = {
        "country": "AT",
        "region": "Wien",
        "city": "Wien",
        "isp": "A1",
        "asn": 8447,
        "kind": 0,
        "categories": 0,
    }
    return NetworkVerdict(**values | changes)


def verdict(**changes: Any) -> Verdict:
    values: dict[str, Any] = {
        "traffic_class": 1,
        "fraud_type": 0,
        "flags": 0,
        "score": 0,
        "reasons": (),
        "bot_action_exempt": False,
    }
    return Verdict(**values | changes)


def click_request(**changes: Any) -> ClickRequest:
    values: dict[str, Any] = {
        "address": address(),
        "scheme": "https",
        "user_agent": "Agent/1",
        "raw_user_agent": b"Agent/1",
        "raw_accept_language": b"de",
        "language": "de",
        "referrer": "https://news.example/page",
        "referrer_domain": "news.example",
        "prefetch": False,
    }
    return ClickRequest(**values | changes)
