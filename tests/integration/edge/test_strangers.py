"""Strangers against the real processes: what of a flood is on disk, that all of it is counted and answered as ever, and
MILEPOST_POSTBACK_RATE.

Clocks are real, so a flood is judged by the time it took: never more than the burst and what came since. How exactly a
bucket counts is unit/edge/test_budget.py, what an event holds unit/edge/test_strangers.py.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.budget import ADDRESS_STRANGERS, WORKER_STRANGERS
from shared import postback
from shared.data_dir import DataDir
from shared.events import STRANGER_REASONS, UNKNOWN_LINK, Event
from shared.ids import ClickIds, KeyRing
from tests.integration.edge import rows
from tests.integration.edge.harness import Answer, Edge, Valkey, await_true

REFILL_SECONDS = 1.1
NOBODY = "/c/00000000-dead-4000-8000-000000000000"
PATH = "/api/v1/postback"
FORGED = ClickIds(KeyRing.generate()).issue(1, 1_790_000_000_000)


@contextmanager
def running(valkey: Valkey, folder: Path, **settings: str) -> Iterator[Edge]:
    folder.mkdir()
    with Edge(DataDir.at(folder), valkey.url, {f"MILEPOST_{name}": value for name, value in settings.items()}) as edge:
        yield edge


@pytest.fixture
def fresh(edge: Edge) -> Edge:
    """The shared edge once its budgets are full again, whatever the test before has used up."""
    time.sleep(REFILL_SECONDS)
    return edge


def flood(edge: Edge, path: str, requests: int, sender: Callable[[int], str]) -> tuple[list[Answer], float]:
    """The answers, and the seconds from before the first request to after the last answer."""
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: edge.get(path, X_Forwarded_For=sender(number)), range(requests)))
    return answers, time.monotonic() - began


def counted(edge: Edge, name: str) -> dict[str, int]:
    """A counter's values by reason."""
    text = edge.admin("/metrics").body.decode()
    found = re.findall(rf'^milepost_edge_{name}_total{{reason="(\w+)"}} (\d+)\.0$', text, re.MULTILINE)
    return {reason: int(count) for reason, count in found}


class Tally:
    """What the edge keeps and counts of strangers from now on."""

    NAMES = ("strangers_kept", "strangers_over_budget")

    def __init__(self, edge: Edge, reason: str) -> None:
        self._edge = edge
        self._reason = reason
        self._counts = self._both()
        self._strangers = len(edge.strangers())

    def _both(self) -> tuple[int, int]:
        kept, beyond = (counted(self._edge, name).get(self._reason, 0) for name in self.NAMES)
        return kept, beyond

    def settled(self, total: int) -> tuple[list[Event], int]:
        """What was kept and how many were beyond the budget, once the counters name them all."""
        before = sum(self._counts)
        await_true(lambda: sum(self._both()) == before + total, f"{total} requests are counted since {self._counts}")
        kept, beyond = (now - then for now, then in zip(self._both(), self._counts, strict=True))
        strangers = self._edge.strangers()[self._strangers :]
        assert len(strangers) == kept
        return strangers, beyond


def unknown_links(edge: Edge) -> int:
    found = re.search(
        r"^milepost_edge_unknown_links_total (\d+)\.0$", edge.admin("/metrics").body.decode(), re.MULTILINE
    )
    assert found is not None
    return int(found[1])


def test_a_flood_from_one_address_is_kept_ten_times_a_second(fresh: Edge) -> None:
    tally, links = Tally(fresh, "UNKNOWN_LINK"), unknown_links(fresh)
    answers, seconds = flood(fresh, NOBODY, 400, lambda number: "203.0.113.9")
    assert Counter(answer.status for answer in answers) == {404: 400}
    assert len({answer.body for answer in answers}) == 1
    kept, beyond = tally.settled(400)
    assert ADDRESS_STRANGERS <= len(kept) <= ADDRESS_STRANGERS * (1 + seconds) + 1
    assert beyond == 400 - len(kept)
    assert unknown_links(fresh) == links + 400


def test_a_flood_from_ever_new_addresses_is_kept_a_hundred_times_a_second(fresh: Edge) -> None:
    tally = Tally(fresh, "UNKNOWN_LINK")
    answers, seconds = flood(fresh, NOBODY, 600, lambda number: f"198.18.{number >> 8}.{number & 255}")
    assert Counter(answer.status for answer in answers) == {404: 600}
    kept, _ = tally.settled(600)
    assert WORKER_STRANGERS <= len(kept) <= WORKER_STRANGERS * (1 + seconds) + 1


def test_who_writes_addresses_into_the_header_itself_gains_none(valkey: Valkey, tmp_path: Path) -> None:
    """The header counts from a trusted proxy only: here, none is."""
    with running(valkey, tmp_path / "edge", TRUSTED_PROXIES="192.0.2.0/24") as edge:
        tally = Tally(edge, "UNKNOWN_LINK")
        _, seconds = flood(edge, NOBODY, 300, lambda number: f"198.18.{number >> 8}.{number & 255}")
        kept, _ = tally.settled(300)
        assert len(kept) <= ADDRESS_STRANGERS * (1 + seconds) + 1


def test_what_is_kept_of_an_unknown_link(fresh: Edge) -> None:
    tally = Tally(fresh, "UNKNOWN_LINK")
    fresh.get(f"{NOBODY}?zone=7&api_key=hush", X_Forwarded_For="203.0.113.9", Referer="https://news.example/p?q=1")
    ((event,), _) = tally.settled(1)
    assert (event["reason"], event["method"], event["path"]) == (UNKNOWN_LINK, "GET", NOBODY)
    assert (event["query"], event["ip"], event["referrer"]) == (
        "zone=7&api_key=***", "203.0.113.0", "https://news.example/p",
    )  # fmt: skip
    assert event["user_agent"].startswith("Mozilla/5.0 (Windows")
    assert abs(event["ts"] - time.time() * 1000) < 30_000


@pytest.mark.parametrize(
    "link", [rows.DELETED.uuid, "00000000-dead-4000-8000-000000000000", "%00%ff%0d%0a", "x" * 2_000]
)  # fmt: skip
def test_whatever_is_no_link_is_kept_alike(fresh: Edge, link: str) -> None:
    tally = Tally(fresh, "UNKNOWN_LINK")
    assert fresh.get(f"/c/{link}", X_Forwarded_For="203.0.113.9").status == 404
    assert len(tally.settled(1)[0]) == 1


def expired_or_refused(edge: Edge) -> dict[str, str]:
    """Reason → a call that is refused for it although its click id proves the campaign."""

    def click(number: int, age_hours: int = 0) -> str:
        return edge.click_ids().issue(number, time.time_ns() // 1_000_000 - age_hours * 3_600_000)

    return {
        "BAD_TOKEN": f"{PATH}?clickid={click(rows.WITH_TOKEN.id)}&token=wrong",
        "BAD_SIGNATURE": f"{PATH}?clickid={click(rows.WITH_HMAC.id)}",
        "ADDRESS_NOT_ALLOWED": f"{PATH}?clickid={click(rows.WITH_ADDRESSES.id)}",
        "CLICK_EXPIRED": f"{PATH}?clickid={click(rows.LIMITED.id, age_hours=25)}",
        "INVALID_PAYOUT": f"{PATH}?clickid={click(rows.ACTIVE.id)}&payout=much",
    }


@pytest.mark.parametrize(
    "reason", ["BAD_TOKEN", "BAD_SIGNATURE", "ADDRESS_NOT_ALLOWED", "CLICK_EXPIRED", "INVALID_PAYOUT"]
)
def test_refused_calls_are_kept_within_the_same_budget_and_answered_alike_beyond_it(fresh: Edge, reason: str) -> None:
    path = expired_or_refused(fresh)[reason]
    before, stored = len(fresh.postbacks()), counted(fresh, "postbacks").get(reason, 0)
    answers, seconds = flood(fresh, path, 60, lambda number: "203.0.113.9")
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert answers[0].json()["error"]["details"] == {"reason": [reason]}
    kept = fresh.postbacks()[before:]
    assert {postback.REASONS[event["reason"]][0] for event in kept} == {reason}
    assert ADDRESS_STRANGERS <= len(kept) <= ADDRESS_STRANGERS * (1 + seconds) + 1
    beyond = {reason: 60 - len(kept)}
    await_true(lambda: counted(fresh, "strangers_over_budget").items() >= beyond.items(), f"{beyond} are counted")
    assert counted(fresh, "postbacks")[reason] == stored + len(kept)


def test_a_flood_of_forged_click_ids_is_kept_within_the_budget(fresh: Edge) -> None:
    tally, uncounted = (
        Tally(fresh, "INVALID_CLICK_ID"),
        counted(fresh, "postbacks_uncounted").get("INVALID_CLICK_ID", 0),
    )
    answers, seconds = flood(fresh, f"{PATH}?clickid={FORGED}&token=hush", 200, lambda number: "203.0.113.9")
    assert Counter(answer.status for answer in answers) == {400: 200}
    kept, _ = tally.settled(200)
    assert ADDRESS_STRANGERS <= len(kept) <= ADDRESS_STRANGERS * (1 + seconds) + 1
    assert {STRANGER_REASONS[event["reason"]] for event in kept} == {"INVALID_CLICK_ID"}
    assert {event["query"] for event in kept} == {f"clickid={FORGED}&token=***"}
    assert counted(fresh, "postbacks_uncounted")["INVALID_CLICK_ID"] == uncounted + 200


def test_accepted_and_held_calls_are_stored_however_much_was_refused(edge: Edge) -> None:
    flood(edge, NOBODY, 100, lambda number: "203.0.113.9")
    click = edge.click_ids().issue(rows.ACTIVE.id, time.time_ns() // 1_000_000)
    before = len(edge.postbacks())
    for path in (f"{PATH}?clickid={click}&payout=1", f"{PATH}?clickid={click}&status=refunded&payout=-1"):
        answers, _ = flood(edge, path, 60, lambda number: "203.0.113.9")
        assert {answer.status for answer in answers} == {200}
    stored = Counter(event["reason"] for event in edge.postbacks()[before:])
    assert stored == {postback.ACCEPTED: 60, postback.HELD_TAKING: 60}


def test_on_a_full_journal_strangers_and_refused_calls_are_answered_alike_and_not_kept(
    valkey: Valkey, tmp_path: Path
) -> None:
    """What clicks and accepted postbacks do then is tests/faults/edge."""
    with running(valkey, tmp_path / "full", JOURNAL_MAX="1") as edge:
        await_true(lambda: edge.get(NOBODY).status == 404 and counted(edge, "strangers_unrecorded"), "it is full", 30)
        stored = len(edge.events())
        refused = edge.get(expired_or_refused(edge)["BAD_TOKEN"], X_Forwarded_For="203.0.113.9")
        unproven = edge.get(f"{PATH}?clickid={FORGED}", X_Forwarded_For="203.0.113.9")
        unknown = edge.get(NOBODY, X_Forwarded_For="203.0.113.9")
        assert (unknown.status, refused.status, unproven.status) == (404, 403, 400)
        names = {"UNKNOWN_LINK", "BAD_TOKEN", "INVALID_CLICK_ID"}
        await_true(lambda: counted(edge, "strangers_unrecorded").keys() == names, f"{names} are counted")
        assert len(edge.events()) == stored


@pytest.fixture(scope="module")
def slow(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One postback a second, so ten at once. Each test is another source."""
    with running(valkey, tmp_path_factory.mktemp("slow") / "edge", POSTBACK_RATE="1") as edge:
        yield edge


def call(edge: Edge) -> str:
    return f"{PATH}?clickid={edge.click_ids().issue(rows.ACTIVE.id, time.time_ns() // 1_000_000)}&payout=1"


def test_a_burst_is_taken_and_the_rest_is_asked_to_come_again(slow: Edge) -> None:
    stored, before = len(slow.postbacks()), counted(slow, "postbacks_uncounted").get("OVER_RATE", 0)
    answers, seconds = flood(slow, call(slow), 40, lambda number: "203.0.113.1")
    taken = [answer for answer in answers if answer.status == 200]
    put_off = [answer for answer in answers if answer.status != 200]
    assert 10 <= len(taken) <= 10 + seconds + 1
    assert {answer.status for answer in put_off} == {503}
    for answer in put_off:
        assert int(answer.header("retry-after") or 0) > 0
        assert answer.json()["error"]["code"] == "UNAVAILABLE"
    assert len(slow.postbacks()) == stored + len(taken)
    total = before + len(put_off)
    await_true(lambda: counted(slow, "postbacks_uncounted").get("OVER_RATE") == total, f"all {total} are counted")


def test_it_comes_back_with_time(slow: Edge) -> None:
    path = call(slow)
    flood(slow, path, 20, lambda number: "203.0.113.2")
    await_true(lambda: slow.get(path, X_Forwarded_For="203.0.113.2").status == 200, "the source is heard again", 5)


def test_another_source_and_the_links_are_not_touched(slow: Edge) -> None:
    path = call(slow)
    flood(slow, path, 40, lambda number: "2001:db8:1:2::9")
    # a token may have come meanwhile
    assert 503 in [slow.get(path, X_Forwarded_For="2001:db8:1:2:ffff::1").status for _ in range(10)]
    assert slow.get(path, X_Forwarded_For="2001:db8:1:3::9").status == 200
    assert slow.get(path, X_Forwarded_For="203.0.113.3").status == 200
    assert slow.get(f"/c/{rows.ACTIVE.uuid}", X_Forwarded_For="2001:db8:1:2::9").status == 302


def test_a_body_over_the_rate_is_not_looked_at(slow: Edge) -> None:
    flood(slow, call(slow), 40, lambda number: "127.0.0.1")
    assert 503 in [slow.post(PATH, b"x" * 15_000, "text/nonsense").status for _ in range(10)]


def test_refused_calls_use_the_rate_up_too(slow: Edge) -> None:
    answers, seconds = flood(slow, f"{PATH}?clickid={FORGED}", 40, lambda number: "203.0.113.4")
    statuses = Counter(answer.status for answer in answers)
    assert 10 <= statuses[400] <= 10 + seconds + 1
    assert statuses[400] + statuses[503] == 40


def test_a_rate_of_nothing_is_no_rate(valkey: Valkey, tmp_path: Path) -> None:
    with running(valkey, tmp_path / "off", POSTBACK_RATE="0") as edge:
        answers, _ = flood(edge, call(edge), 100, lambda number: "203.0.113.9")
        assert {answer.status for answer in answers} == {200}


def test_what_strangers_send_is_no_error_of_the_program(edge: Edge) -> None:
    hostile = [
        "/c/%ed%a0%80%f0%9f%98%80?" + "%ff=%00&" * 200,
        "/c/?",
        f"{PATH}?click_id=%00",
        f"{PATH}?" + "&".join(f"p{number}={{x}}" for number in range(300)),
    ]
    for number, path in enumerate(hostile):
        assert edge.get(path, X_Forwarded_For=f"198.18.99.{number}", Referer="http://[").status in (400, 404)
    await_true(
        lambda: sum(event["ip"] == "198.18.99.0" for event in edge.strangers()) == len(hostile), "all of it is kept"
    )
    assert "milepost_edge_errors_total 0.0\n" in edge.admin("/metrics").body.decode()
    assert "Traceback" not in edge.log()
