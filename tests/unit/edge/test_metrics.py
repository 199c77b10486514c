"""Counting and its rendering for Prometheus; a worker's reports over the pipe. The admin port is in integration/edge."""

import os
import time
from collections.abc import Iterator
from io import BufferedReader

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.counters import COUNTERS, Counters
from edge.metrics import PREFIX, EdgeMetrics, render
from edge.worker import ReportPipe
from shared import postback
from shared.traffic import ClickMode, Outcome, TrafficClass


def counted() -> Counters:
    counters = Counters()
    counters.click((int(ClickMode.CLICK), int(TrafficClass.REAL), int(Outcome.REDIRECTED)))
    counters.click((int(ClickMode.CLICK), int(TrafficClass.REAL), int(Outcome.REDIRECTED)))
    counters.click((int(ClickMode.HEAD), int(TrafficClass.BOT), int(Outcome.BLOCKED)))
    counters.postback(postback.HELD_PAYOUT)
    counters.add_reason("postbacks_uncounted", "FUTURE_KEY")
    counters.add_reason("strangers_kept", "UNKNOWN_LINK")
    counters.add_reason("strangers_over_budget", "BAD_TOKEN")
    counters.add_reason("strangers_over_budget", "BAD_TOKEN")
    counters.add_reason("strangers_unrecorded", "INVALID_CLICK_ID")
    counters.add("unknown_links")
    return counters


def report(**changes: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "ready": True,
        "version": 12,
        "generation": "5eed",
        "confirmed_at": time.time() - 5,
        "campaigns": 3,
        "unreadable_rows": 0,
        "synced_seq": 99,
        "synced_at": time.time() - 1,
        "journal_full": False,
        "declared_losses": 0,
        "abandoned_segments": 0,
        "ip_files": {"tor.txt": {"as_of": time.time() - 60, "problem": ""}},
    }
    return plain | changes


def samples(metrics: EdgeMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(render(metrics).decode())
        for sample in family.samples
    }


def test_counts_are_rendered_with_their_labels() -> None:
    found = samples(EdgeMetrics({}, counted().snapshot(), 1, 0, 30))
    labelled = {(name, frozenset(labels)): value for (name, labels), value in found.items()}
    assert labelled["clicks_total", frozenset(("click", "real", "redirected"))] == 2
    assert labelled["clicks_total", frozenset(("head", "bot", "blocked"))] == 1
    assert labelled["postbacks_total", frozenset(("HELD_PAYOUT",))] == 1
    assert labelled["postbacks_uncounted_total", frozenset(("FUTURE_KEY",))] == 1
    assert labelled["strangers_kept_total", frozenset(("UNKNOWN_LINK",))] == 1
    assert labelled["strangers_over_budget_total", frozenset(("BAD_TOKEN",))] == 2
    assert labelled["strangers_unrecorded_total", frozenset(("INVALID_CLICK_ID",))] == 1
    assert labelled["unknown_links_total", frozenset()] == 1


def test_every_counter_is_there_from_the_start() -> None:
    text = render(EdgeMetrics({}, Counters().snapshot(), 0, 0, 0)).decode()
    for name, meaning in COUNTERS.items():
        assert f"# HELP {PREFIX}{name}_total {meaning}\n" in text


def test_gauges_tell_each_worker_apart() -> None:
    found = samples(
        EdgeMetrics(
            {0: report(), 1: report(ready=False, version=None, generation=None, confirmed_at=None)}, {}, 2, 7, 0
        )
    )
    assert found["workers", ()] == 2
    assert found["workers_ready", ()] == 1
    assert found["worker_restarts_total", ()] == 7
    assert found["table_version", ("0",)] == 12
    assert ("table_version", ("1",)) not in found
    assert found["table_age_seconds", ("0",)] == pytest.approx(5, abs=2)
    labelled = {(name, frozenset(labels)): value for (name, labels), value in found.items()}
    assert labelled["table_generation", frozenset(("0", "5eed"))] == 1
    assert found["ip_file_age_seconds", ("tor.txt",)] == pytest.approx(60, abs=5)


def test_an_unknown_count_of_another_version_is_passed_over() -> None:
    assert not any(name == "novelty_total" for name, _ in samples(EdgeMetrics({}, {"novelty": 1}, 0, 0, 0)))


@pytest.fixture
def pipe() -> Iterator[tuple[BufferedReader, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb") as reader:
        yield reader, writing
    os.close(writing)


def test_reports_are_whole_lines_even_when_nobody_reads_for_long(pipe: tuple[BufferedReader, int]) -> None:
    reader, writing = pipe
    reports = ReportPipe(writing)
    for number in range(300):
        assert reports.send({"number": number, "padding": "x" * 5_000})
    received = b""
    for _ in range(10):
        received += reader.read() or b""
        assert reports.send({"number": 1000, "padding": ""})
    numbers = [orjson.loads(line)["number"] for line in received.split(b"\n")[:-1]]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert numbers[-1] == 1000


def test_a_report_tells_that_the_supervisor_is_gone(pipe: tuple[BufferedReader, int]) -> None:
    reader, writing = pipe
    reader.close()
    assert not ReportPipe(writing).send({"number": 1})
