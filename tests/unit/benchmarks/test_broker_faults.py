"""Covers what is made of the windows around a broker's faults: the ratio, the worst of them, a client that was late.
That the faults are there in their windows is tests/integration/benchmarks/test_behind_edge.py."""

import pytest

from benchmarks.broker_faults import FAULTS, NO_FAULT, Pair, Seen, Window, forgot, healthy, report, silent, slow
from benchmarks.marks import BROKER_FAULTS
from benchmarks.open_loop import Latency

HEALTHY, SILENT = Seen(1_000, 1_000, 0), Seen(1_000, 0, 0)


def window(p99: float, late: float = 0.1) -> Window:
    latency = Latency(
        rate=1_250, answers=2_500, p50=0.4, p99=p99, p999=9, greatest=9, late_p99=late, queued=0, bad=0
    )  # fmt: skip
    return Window(latency, HEALTHY, busy=0.1)


def pairs(*p99: tuple[float, float], late: float = 0.1) -> list[Pair]:
    return [Pair(window(before, late), window(during, late)) for before, during in p99]


def test_the_worst_fault_counts_by_the_ratio_of_its_medians() -> None:
    found = {fault.name: pairs((2, 2), (2, 2), (2, 2)) for fault in FAULTS}
    found[FAULTS[2].name] = pairs((2, 3), (4, 2), (2, 9))
    found[NO_FAULT.name] = pairs((2, 9), (2, 9), (2, 9))
    assert report(found, 2.0) == {BROKER_FAULTS: 1.5}


def test_a_client_that_was_late_itself_leaves_the_mark_open(capsys: pytest.CaptureFixture[str]) -> None:
    found = {fault.name: pairs((2, 2), late=0.6) for fault in (NO_FAULT, *FAULTS)}
    assert report(found, 2.0) == {}
    assert "8 of 8 pairs CLIENT-BOUND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seen", "states"),
    [
        (HEALTHY, {healthy}),
        (SILENT, {silent}),
        (Seen(1_000, 60, 0), {silent, slow}),
        (Seen(1_000, 400, 0), {slow}),
        (Seen(1_000, 550, 0), set()),
        (Seen(1_000, 1_500, 1), {forgot}),
    ],
    ids=["kept up", "nothing acknowledged", "what was on its way", "behind", "neither", "sent again"],
)
def test_a_state_is_told_by_what_was_acknowledged(seen: Seen, states: set[object]) -> None:
    assert {state for state in (healthy, silent, slow, forgot) if state(seen)} == states
