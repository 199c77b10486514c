"""What is journaled of a stranger's request, and what becomes of one that is not: budget, full or failed journal.

The journal is a real one. How much a budget gives is test_budget.py; answers over HTTP, floods and the sharing of one
budget with refused postbacks are integration/edge/test_strangers.py.
"""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.budget import StrangerBudget
from edge.client_ip import IpStorage
from edge.counters import Counters
from edge.strangers import MAX_KEPT, Strangers
from shared import events, postback
from shared.events import STRANGER_REASONS, Event
from shared.journal import Done, JournalLimits, JournalWriter, StreamReader
from shared.journal.limits import NO_LIMITS
from tests.unit.edge.builders import NOON_MS, address

BROWSER = b"Mozilla/5.0 (X11)"


class Desk:
    """Strangers with their journal and counters; times stand still unless a test says otherwise."""

    def __init__(self, root: Path, *, ip_storage: IpStorage = "truncated", limits: JournalLimits = NO_LIMITS) -> None:
        self.failures: list[BaseException] = []
        self.journal = JournalWriter.open(root, "os", limits=limits, on_failure=self.failures.append)
        self.counters = Counters()
        self.strangers = Strangers(self.journal, StrangerBudget(), ip_storage, self.counters)

    def link(self, path: str = "/c/nobody", query: bytes = b"", **changes: Any) -> None:
        self.strangers.unknown_link(
            changes.get("now_ms", NOON_MS),
            changes.get("now", 100.0),
            changes.get("method", "GET"),
            path,
            query,
            address(changes.get("sender", "203.0.113.77")),
            changes.get("user_agent", BROWSER),
            changes.get("referrer", b""),
        )

    async def journaled(self) -> list[Event]:
        """Closes the journal; gives what it holds, all of it of kind 3."""
        await self.journal.close()
        await asyncio.sleep(0)
        reader = StreamReader(self.journal.path)
        records = reader.read(10_000, 1 << 24).records
        reader.close()
        assert {kind for _, kind, _ in records} <= {events.STRANGER}
        assert self.failures == []
        return [events.decode(payload) for _, _, payload in records]

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.counters.snapshot().items() if "strangers" in name}


async def test_an_unknown_link_is_journaled_as_the_wire_form_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.link(
        "/c/no body",
        b"sub1=a%20b&api_key=hush&x=%00%ff",
        method="HEAD",
        user_agent=b"Agent/1 \x1b[31m",
        referrer=b"https://news.example/page?reader=me",
    )
    (event,) = await desk.journaled()
    assert len(event.pop("id")) == 32
    assert event == {
        "v": 1,
        "ts": NOON_MS,
        "reason": events.UNKNOWN_LINK,
        "method": "HEAD",
        "path": "/c/no body",
        "query": "sub1=a%20b&api_key=***&x=%00%25FF",
        "ip": "203.0.113.0",
        "user_agent": "Agent/1 %1B[31m",
        "referrer": "https://news.example/page",
    }
    assert desk.counted() == {"strangers_kept|UNKNOWN_LINK": 1}


@pytest.mark.parametrize(
    "reason", [postback.MISSING_CLICK_ID, postback.INVALID_CLICK_ID, postback.UNEXPANDED_MACRO],
    ids=lambda reason: postback.REASONS[reason][0],
)  # fmt: skip
async def test_an_unproven_postback_is_journaled_with_its_reason_and_without_its_secrets(
    tmp_path: Path, reason: int
) -> None:
    desk = Desk(tmp_path)
    pairs = [("clickid", "clk_x"), ("Token", "hush"), ("sig", "hush"), ("txid", "T&1")]
    desk.strangers.unproven_postback(NOON_MS, 1.0, "POST", reason, pairs, address(), BROWSER, b"")
    (event,) = await desk.journaled()
    assert (event["reason"], event["method"], event["path"]) == (reason, "POST", "/api/v1/postback")
    assert event["query"] == "clickid=clk_x&Token=***&sig=***&txid=T%261"
    assert desk.counted() == {f"strangers_kept|{STRANGER_REASONS[reason]}": 1}


@pytest.mark.parametrize(
    ("storage", "stored"), [("truncated", "203.0.113.0"), ("full", "203.0.113.77"), ("none", "")]
)  # fmt: skip
async def test_the_address_is_stored_as_the_setting_says(tmp_path: Path, storage: IpStorage, stored: str) -> None:
    desk = Desk(tmp_path, ip_storage=storage)
    desk.link()
    (event,) = await desk.journaled()
    assert event["ip"] == stored
    assert stored == "203.0.113.77" or "203.0.113.77" not in str(event)


async def test_texts_are_cut(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.link(
        "/c/" + "é" * 8_000,
        b"&".join(b"p%d=%s" % (number, b"%ff" * 50) for number in range(50)),
        user_agent=b'"' * 8_000,
        referrer=b"https://news.example/" + b"\xff" * 8_000,
    )
    (event,) = await desk.journaled()
    for name in ("path", "query", "user_agent", "referrer"):
        assert MAX_KEPT - 3 <= len(event[name].encode()) <= MAX_KEPT, name
    assert len(orjson.dumps(event)) < 4_096


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)


@given(path=ANYTHING, query=st.binary(max_size=80), user_agent=st.binary(max_size=60), referrer=st.binary(max_size=60))
def test_whatever_is_sent_becomes_an_event_of_printable_texts(
    path: str, query: bytes, user_agent: bytes, referrer: bytes
) -> None:
    taken: list[bytes] = []

    class Journal:
        def take(self, kind: int, payload: bytes, done: Done) -> None:
            taken.append(payload)

    strangers = Strangers(Journal(), StrangerBudget(), "full", Counters())  # type: ignore[arg-type]  # no disk needed
    strangers.unknown_link(NOON_MS, 0.0, "GET", path, query, address(), user_agent, referrer)
    (payload,) = taken
    event = events.decode(payload)
    for name in ("path", "query", "user_agent", "referrer"):
        assert "\0" not in event[name]
        assert not any(ord(character) < 0x20 for character in event[name])
    assert event["query"].isascii()


async def test_beyond_the_budget_requests_are_only_counted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for _ in range(40):
        desk.link()
        desk.strangers.unproven_postback(NOON_MS, 100.0, "GET", 11, [], address(), BROWSER, b"")
    assert len(await desk.journaled()) == 10
    counted = desk.counted()
    assert counted["strangers_kept|UNKNOWN_LINK"] == counted["strangers_kept|INVALID_CLICK_ID"] == 5
    assert counted["strangers_over_budget|UNKNOWN_LINK"] == counted["strangers_over_budget|INVALID_CLICK_ID"] == 35


async def test_asking_for_a_refused_postback_uses_the_same_budget(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert [desk.strangers.may_keep("BAD_TOKEN", address(), 100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    desk.link()
    assert await desk.journaled() == []
    assert desk.counted() == {"strangers_over_budget|BAD_TOKEN": 2, "strangers_over_budget|UNKNOWN_LINK": 1}


async def test_the_budget_comes_back_with_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for second in range(3):
        for _ in range(50):
            desk.link(now=100.0 + second)
    assert len(await desk.journaled()) == 30


async def test_a_closed_journal_takes_nothing_and_nobody_notices(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.journal.close()
    desk.link()
    assert await desk.journaled() == []
    assert desk.counted() == {"strangers_unrecorded|UNKNOWN_LINK": 1}


async def test_a_full_journal_keeps_no_strangers(tmp_path: Path) -> None:
    desk = Desk(tmp_path, limits=JournalLimits(max_bytes=0, disk_reserve=0))
    async with asyncio.timeout(10):
        while not desk.journal.is_full:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    desk.link()
    assert await desk.journaled() == []
    assert desk.counted() == {"strangers_unrecorded|UNKNOWN_LINK": 1}


def test_the_reasons_of_strangers_are_no_others_reasons() -> None:
    assert events.UNKNOWN_LINK not in postback.REASONS
    assert len(set(STRANGER_REASONS.values())) == len(STRANGER_REASONS)
    assert all(name == quote(name, safe="_") for name in STRANGER_REASONS.values())
