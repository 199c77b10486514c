"""Records that come in a way no edge would send them: unreadable, from other versions, once more, out of order."""

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from shared import events
from shared.ids import ClickIds
from shared.journal import FIRST_SEQ, JournalWriter, StreamReader, streams
from tests.faults.chain.judge import destination
from tests.faults.chain.nemesis import Scene
from tests.faults.chain.oracle import PLANTED_FROM, asked_click

_COPIES: Final = 3_000
_POISON_EVERY: Final = 1_000
_POISON: Final = (
    b"",
    b"\x00\xff not JSON",
    b"[1, 2, 3]",
    b'{"v": 1}',
    b'{"v": 99, "id": "clk_"}',
    b'{"v": 1, "id": "clk_!", "account": -1, "details": "\\u0000"}',
)
_VERSIONS: Final = 40


async def write_stream(root: Path, records: list[tuple[int, bytes]]) -> None:
    """A stream of a worker that wrote these (kind, payload) and ended."""
    failures: list[BaseException] = []
    writer = JournalWriter.open(root, "os", on_failure=failures.append)
    await asyncio.gather(*(writer.append(kind, payload) for kind, payload in records))
    await writer.close()
    assert not failures, failures


class Poison:
    """A worker's journal in which one record of a thousand cannot be decoded, between copies of records that are
    stored already: each bad one becomes a dead letter, no copy counts again, and the line goes on."""

    name = "poison 1 in 1,000"
    hold = (0.0, 1.0)

    async def inject(self, scene: Scene) -> None:
        root = scene.system.data_dir.journal
        copies = [(kind, payload) for _, kind, payload in journaled(root, _COPIES)]
        failures: list[BaseException] = []
        writer = JournalWriter.open(root, "os", on_failure=failures.append)
        await scene.aim()
        appends, seq = [], FIRST_SEQ
        for place in range(0, len(copies) + 1, _POISON_EVERY):
            # Before it is written: from then on it may be met.
            scene.ledger.write("Z", writer.stream.hex(), seq)
            chunk = copies[place : place + _POISON_EVERY]
            appends.append(writer.append(events.CLICK, scene.chance.choice(_POISON)))
            appends += [writer.append(kind, payload) for kind, payload in chunk]
            seq += 1 + len(chunk)
        await asyncio.gather(*appends)
        await writer.close()
        assert not failures, failures

    async def heal(self, scene: Scene) -> None:
        """Nothing to undo."""


class EventVersions:
    """Clicks of edges of another version: with members that this version does not know, and without the details that
    were added since the first one."""

    name = "two versions of events"
    hold = (0.0, 1.0)

    async def inject(self, scene: Scene) -> None:
        ids = ClickIds(scene.system.key_ring)
        planted: list[tuple[int, str, bytes]] = []
        for place in range(_VERSIONS):
            number = PLANTED_FROM + scene.planted
            scene.planted += 1
            click_id, event = _click(scene, ids, number)
            if place % 2:
                event |= {"since_v9": {"list": [1, "é", None]}, "another": 7}
                event["details"] |= {"since_v9": True}
                payload = orjson.dumps(event)
            else:
                # Written by another encoder, members in another order.
                payload = orjson.dumps(dict(reversed(event.items())), option=orjson.OPT_INDENT_2)
            planted.append((number, click_id, payload))
            scene.ledger.write("A", number)
        await scene.aim()
        await write_stream(scene.system.data_dir.journal, [(events.CLICK, payload) for _, _, payload in planted])
        for number, click_id, _ in planted:
            scene.ledger.write("C", number, click_id)

    async def heal(self, scene: Scene) -> None:
        """Nothing to undo."""


def _click(scene: Scene, ids: ClickIds, number: int) -> tuple[str, dict[str, Any]]:
    asked = asked_click(scene.seed, number)
    campaign = scene.system.campaigns[asked.campaign]
    now_ms = time.time_ns() // 1_000_000
    click_id = ids.issue(campaign, now_ms)
    digests = {
        name: base64.b64encode(os.urandom(12)).decode()
        for name in ("visitor", "visitor_prev", "address", "address_prev")
    }
    return click_id, {
        "v": 1, "id": click_id, "ts": now_ms, "account": scene.system.account, "campaign": campaign, "mode": 1,
        "outcome": 1, "class": 1, "fraud": 0, "flags": 0, "score": 10, "rules": 1, "cost": 500_000_000, "cost_from": 0,
        **digests, "ip": asked.stored_address, "country": "GB", "asn": 64496, "device": "mobile", "os": "iOS",
        "browser": "Safari",
        "details": {
            "language": asked.language, "user_agent": asked.agent, "external_id": asked.external_id,
            "subs": {"sub1": asked.sub1, "sub2": asked.sub2}, "location": destination(click_id),
        },
    }  # fmt: skip


def journaled(root: Path, most: int) -> Iterator[tuple[int, int, bytes]]:
    """Up to so many records (seq, kind, payload) of clicks and postbacks in the journals below `root`."""
    for path in streams(root):
        with StreamReader(path) as reader:
            for record in reader.read(most, 1 << 26).records:
                # Poison of earlier rounds stays where it is.
                if record[1] in (events.CLICK, events.POSTBACK) and len(record[2]) > 200:
                    yield record
                    most -= 1
        if most <= 0:
            return
