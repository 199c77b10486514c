"""Builders of what ingest reads: events as an edge journals them, each field changeable, and streams of them."""

import base64
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from management.ingest.batch import Gap, StreamRead
from shared import events
from shared.events import CLICK, POSTBACK, STRANGER, UNKNOWN_LINK, Event
from shared.ids import ClickIds, KeyRing, click_id_bytes, conversion_id
from shared.journal import JournalWriter

NOW_MS = 1_795_000_000_000  # 2026-11-18
DAY_MS = 86_400_000
_ids = ClickIds(KeyRing.generate())


def click_id(campaign: int = 7, at_ms: int = NOW_MS) -> str:
    return _ids.issue(campaign, at_ms)


def digest() -> str:
    return base64.b64encode(os.urandom(12)).decode()


def click(**changes: Any) -> Event:
    """A click event; `campaign` and `at_ms` also go into its id, unless `id` is given."""
    at_ms = changes.pop("at_ms", NOW_MS)
    made = changes["id"] if "id" in changes else click_id(changes.get("campaign", 7), at_ms)
    event = {
        "v": 1, "id": made, "ts": at_ms, "account": 3, "campaign": 7, "mode": 1,
        "outcome": 1, "class": 1, "fraud": 0, "flags": 4, "score": 10, "rules": 1, "cost": 150_000_000, "cost_from": 0,
        "visitor": digest(), "visitor_prev": digest(), "address": digest(), "address_prev": digest(),
        "ip": "203.0.113.0", "country": "DE", "asn": 64496, "device": "mobile", "os": "iOS", "browser": "Safari",
        "details": {"language": "de", "referrer": "https://example.org/", "subs": {"sub1": "banner"}, "reasons": []},
    }  # fmt: skip
    return event | changes


def postback(**changes: Any) -> Event:
    """A postback event for a click of campaign 7."""
    of = changes.get("click_id", click_id())
    event = {
        "v": 1, "id": secrets.token_hex(16), "ts": NOW_MS, "account": 3, "campaign": 7, "click_id": of,
        "conversion_id": conversion_id(3, click_id_bytes(of), "", "T-1") if len(of) == 40 else "",
        "event": "", "transaction_id": "T-1", "status": "approved", "payout": "12.50", "default_payout": None,
        "currency": "EUR", "time": None, "reason": 0, "http_status": 200, "security": "open", "trusted": False,
        "duplicate_mode": "ignore", "cost_model": "cpa", "cost_value": "3.25", "source_ip": "198.51.100.7",
        "method": "GET", "query": "clickid=x", "origin": "postback",
    }  # fmt: skip
    return event | changes


def stranger(**changes: Any) -> Event:
    """A request for a link that is none."""
    event = {
        "v": 1, "id": secrets.token_hex(16), "ts": NOW_MS, "reason": UNKNOWN_LINK, "method": "GET",
        "path": "/c/nobody", "query": "sub1=a", "ip": "198.51.100.0", "user_agent": "curl/8", "referrer": "",
    }  # fmt: skip
    return event | changes


def payload(event: Event) -> bytes:
    return events.encode(event)


def kind_of(event: Event) -> int:
    return POSTBACK if "click_id" in event else STRANGER if "path" in event else CLICK


def read_of(
    found: Iterable[Event | bytes], *, stream: bytes = b"s" * 16, begins: int = 1, known: bool | None = None
) -> StreamRead:
    """A run of one stream whose first record has the seq `begins`."""
    records = [
        (seq, CLICK, event) if isinstance(event, bytes) else (seq, kind_of(event), payload(event))
        for seq, event in enumerate(found, begins)
    ]
    return StreamRead(stream, begins, begins + len(records), begins > 1 if known is None else known, records)


def gap_read(first: int, last: int, *, stream: bytes = b"s" * 16) -> StreamRead:
    return StreamRead(stream, first, last + 1, first > 1, [], [Gap(first, last, "damaged")])


async def write_stream(root: Path, found: Iterable[Event | bytes], *, segment_bytes: int = 1 << 20) -> bytes:
    """A finished stream under `root`; gives its id."""
    failures: list[BaseException] = []
    writer = JournalWriter.open(root, "os", segment_bytes=segment_bytes, on_failure=failures.append)
    for event in found:
        await append(writer, event)
    await writer.close()
    assert failures == []
    return writer.stream


async def append(writer: JournalWriter, event: Event | bytes) -> None:
    if isinstance(event, bytes):
        await writer.append(CLICK, event)
    else:
        await writer.append(kind_of(event), payload(event))
