"""Covers what a replay and a demo print, the options they refuse, and their progress lines. Leaves the figures
themselves to test_expectation.py and runs against real processes to the end-to-end tests."""

import io
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from management.rehearsal import demo, replay
from management.rehearsal.api_client import Campaign
from management.rehearsal.demo import AllFigures, Demo, DemoOptions
from management.rehearsal.driver import Tally
from management.rehearsal.errors import RehearsalError
from management.rehearsal.expectation import expected_figures
from management.rehearsal.figures import Figures
from management.rehearsal.listed_addresses import ListedAddresses
from management.rehearsal.own_account import OwnAccount
from management.rehearsal.plan import make_plan
from management.rehearsal.progress import stage
from management.rehearsal.replay import Replay, ReplayOptions
from management.rehearsal.report import most_common, written
from management.rehearsal.settling import Settled
from shared.env import load

FIGURES = Figures(
    1234,
    1000,
    900,
    234,
    100,
    0,
    Decimal("1234.50"),
    Decimal("123.40"),
    Decimal("1111.10"),
    Decimal(900),
    None,
    None,
    0,
    Decimal(0),
)
ACCOUNT = OwnAccount("replay-2024-01-01", "replay@localhost.localdomain", "a password")
CAMPAIGN = Campaign(1, "Summer", "active", "http://localhost:8080/c/x")


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=200, force_terminal=terminal, color_system=None)


def text_of(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return " ".join(target.file.getvalue().split())


def outcome(answered: int = 1234, clicks: int = 1234, unanswered: int = 0, **changes: object) -> Replay:
    tally = Tally(Counter({302: answered}), Counter({"connection refused": unanswered}), ended=0.0)
    agreed = answered == clicks
    found = Replay(
        CAMPAIGN, ACCOUNT, tally, Counter({"method POST": 5}), answered, clicks, Settled(FIGURES, agreed, 1.0),
        FIGURES, None,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def shown(found: Replay, *, terminal: bool = False) -> str:
    target = console(terminal=terminal)
    replay.show(found, target)
    return text_of(target)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (1234567, "1,234,567"), (Decimal("-1234.50"), "-1,234.50")]
)
def test_figures_are_written_to_be_read(value: int | Decimal | None, text: str) -> None:
    assert written(value) == text


def test_reasons_beyond_the_most_frequent_are_summed() -> None:
    counts = {f"reason {number}": number for number in range(1, 10)}
    found = most_common(counts)
    assert found[0] == ("reason 9", 9)
    assert found[-1] == ("other reasons", 1 + 2 + 3)
    assert sum(count for _, count in found) == sum(counts.values())


def test_an_exact_replay_shows_its_figures_and_says_so() -> None:
    text = shown(outcome())
    assert "Summer │ 1,234 │ 1,000 │ 900 │ 234 │ 100 │ 0 │ 1,234.50 │ 123.40 │ 1,111.10 │ 900 │ – │ –" in text
    assert "answered 302 │ 1,234" in text
    assert "line skipped, method POST │ 5" in text
    assert "Each of the 1,234 answered clicks is counted once." in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_figure_is_cut_however_narrow_the_console(width: int) -> None:
    target = Console(file=io.StringIO(), width=width)
    replay.show(outcome(), target)
    text = text_of(target)
    assert "…" not in text
    for figure in ("1,234.50", "123.40", "1,111.10", "900", "1,000"):
        assert figure in text


def test_a_name_with_brackets_is_shown_as_it_is() -> None:
    assert "own [bold] name" in shown(outcome(campaign=replace(CAMPAIGN, name="own [bold] name")))


def test_missing_clicks_are_said_plainly() -> None:
    found = outcome(clicks=1233)
    assert not found.exact
    assert not found.explained
    assert "1,234 clicks were answered, the API counts 1,233." in shown(found)


def test_clicks_that_unanswered_requests_can_explain_are_told_apart() -> None:
    found = outcome(clicks=1236, unanswered=2)
    assert not found.exact
    assert found.explained
    text = shown(found)
    assert "unanswered, connection refused │ 2" in text
    assert "can be counted requests among the 2 unanswered requests" in text


def test_more_clicks_than_requests_are_not_explained() -> None:
    assert not outcome(clicks=1237, unanswered=2).explained


def test_a_log_that_was_not_sent_whole_is_not_complete() -> None:
    assert outcome().complete
    damaged = outcome(damage="CRC check failed")
    assert not damaged.complete
    assert "The log is damaged and was read up to there: CRC check failed" in shown(damaged)
    gone = outcome()
    gone.tally.gave_up = True
    assert not gone.complete
    assert "the rest of the log was not sent" in shown(gone)


def test_the_login_is_shown_on_a_terminal_alone() -> None:
    assert ACCOUNT.password in shown(outcome(), terminal=True)
    assert ACCOUNT.password not in shown(outcome())


def demo_outcome(change: int = 0) -> Demo:
    plan = make_plan(1, 50, ListedAddresses())
    expected = AllFigures(*expected_figures(plan))
    first, *others = expected.campaigns
    found = replace(expected, campaigns=(replace(first, conversions=first.conversions + change), *others))
    campaigns = tuple(Campaign(1, planned.name, "active", "") for planned in plan.campaigns)
    settled = Settled(found, found == expected, 1.0)
    return Demo(ACCOUNT, plan, campaigns, False, demo.Sent(Tally(ended=0.0), Tally(ended=0.0)), expected, settled)


def test_a_demo_that_matches_says_so() -> None:
    target = console()
    demo.show(demo_outcome(), target)
    text = text_of(target)
    assert "Every figure matches what was sent." in text
    assert "none was sent: 0 vpn" in text
    for planned in make_plan(1, 50, ListedAddresses()).campaigns:
        assert planned.name in text


def test_a_demo_that_differs_names_each_figure() -> None:
    found = demo_outcome(change=1)
    assert not found.exact
    assert [(one.row, one.column) for one in found.differences] == [(found.campaigns[0].name, "conversions")]
    target = console()
    demo.show(found, target)
    assert "1 figure differs from what was sent." in text_of(target)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (ReplayOptions(Path("x"), campaign=1), "--campaign needs --email and --password"),
        (ReplayOptions(Path("x"), campaign=1, email="a@b"), "--campaign needs --email and --password"),
        (ReplayOptions(Path("x"), email="a@b"), "belong to --campaign"),
        (ReplayOptions(Path("x"), limit=0), "--limit must be at least 1"),
        (ReplayOptions(Path("x"), speed=1, rate=1), "either --speed or --rate"),
        (DemoOptions(clicks=0), "--clicks must be from 1"),
    ],
)
def test_options_that_contradict_are_refused(options: ReplayOptions | DemoOptions, sentence: str) -> None:
    with pytest.raises(RehearsalError, match=sentence):
        options.check()


async def test_a_log_that_is_not_there_ends_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load({"MILEPOST_DATA_DIR": str(tmp_path)})
    status = await replay.replay(settings, ReplayOptions(tmp_path / "absent.log"), console())
    assert status == 1
    assert capsys.readouterr().err == f"milepost: {tmp_path}/absent.log cannot be read: No such file or directory\n"


async def test_without_a_database_to_be_found_the_sentence_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load({"MILEPOST_DATA_DIR": str(tmp_path)})
    assert await demo.demo(settings, DemoOptions(), console()) == 1
    assert "run `milepost up`" in capsys.readouterr().err


def test_progress_off_a_terminal_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("management.rehearsal.progress.time.monotonic", lambda: now)
    target = console()
    with stage("Driving", target) as under_way:
        under_way.show(0.1, "1 click")
        assert text_of(target) == ""
        now = 105.0
        under_way.show(0.5, "5 clicks")
        under_way.show(0.6, "6 clicks")
        now = 110.0
        under_way.show(None, "7 clicks")
    assert text_of(target) == "Driving: 50% 5 clicks Driving: 7 clicks"


def test_progress_on_a_terminal_is_a_bar_that_leaves_nothing_behind() -> None:
    target = console(terminal=True)
    with stage("Driving", target) as under_way:
        under_way.show(0.5, "5 clicks")
    assert "Driving" in text_of(target)
