"""`milepost replay`: an access log once more, each GET line a click, then the figures that the API gives for it."""

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console

from management.rehearsal.access_log import LogClick, read_clicks
from management.rehearsal.api_client import ApiClient, Campaign, NewCampaign, Period, open_api
from management.rehearsal.driver import FOUND, Answer, Driver, Tally, TrackingLink, drive, open_driver
from management.rehearsal.endpoints import Endpoints, find_endpoints, require_trusted_loopback
from management.rehearsal.errors import RehearsalError
from management.rehearsal.figures import Figures
from management.rehearsal.log_file import LogFile, open_log
from management.rehearsal.own_account import OwnAccount, make_account
from management.rehearsal.pace import Pace, due
from management.rehearsal.progress import error_console, stage
from management.rehearsal.report import plural, print_figures, reasons_text, say, sent_table
from management.rehearsal.settling import Patience, Settled, settle
from management.rehearsal.visits import Visit
from shared.env import Settings

_OWN_COUNTED: Final = frozenset((FOUND,))
# A campaign of the operator's may be paused or keep bots out: its link is known, so these are recorded clicks too.
_CAMPAIGN_COUNTED: Final = frozenset((FOUND, 404, 410))
_CLICK_COST: Final = "0.10"
_DESTINATION: Final = "https://example.com/?clickid={clickid}"


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The command line. Without `campaign` the rehearsal makes an account of its own."""

    log: Path
    campaign: int | None = None
    email: str | None = None
    password: str | None = None
    speed: float | None = None
    rate: float | None = None
    limit: int | None = None
    edge_url: str | None = None
    api_url: str | None = None

    @property
    def pace(self) -> Pace:
        return Pace(self.speed, self.rate)

    def check(self) -> None:
        """Raises RehearsalError for the first contradiction."""
        if self.campaign is None and (self.email is not None or self.password is not None):
            raise RehearsalError("--email and --password belong to --campaign, which names the campaign to drive")
        if self.campaign is not None and (self.email is None or self.password is None):
            raise RehearsalError("--campaign needs --email and --password of a user of its account")
        if self.limit is not None and self.limit < 1:
            raise RehearsalError("--limit must be at least 1")
        self.pace.check()


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `clicks` are those the API counts beyond the ones that were there before."""

    campaign: Campaign
    account: OwnAccount | None
    tally: Tally
    skipped: Counter[str]
    answered: int
    clicks: int
    settled: Settled[Figures]
    total: Figures | None
    damage: str | None
    """Why the log could not be read to its end."""

    @property
    def complete(self) -> bool:
        """Everything in the log was sent."""
        return self.damage is None and not self.tally.gave_up

    @property
    def exact(self) -> bool:
        """Every answered click is counted, once."""
        return self.settled.agreed and self.clicks == self.answered

    @property
    def explained(self) -> bool:
        """At least nothing answered is missing: what is counted beyond it fits into the unanswered requests."""
        return self.answered <= self.clicks <= self.answered + self.tally.unanswered.total()


async def replay(settings: Settings, options: ReplayOptions, console: Console) -> int:
    """Drive the log and print the figures; gives the exit status: 1 unless all of it was sent and every
    answered click is counted once."""
    try:
        outcome = await run_replay(settings, options)
    except RehearsalError as error:
        error_console().print(f"milepost: {error}")
        return 1
    show(outcome, console)
    return 0 if outcome.exact and outcome.complete else 1


async def run_replay(settings: Settings, options: ReplayOptions, patience: Patience | None = None) -> Replay:
    """Drive the log, wait for the figures and give them; raises RehearsalError."""
    options.check()
    require_trusted_loopback(settings)
    endpoints = find_endpoints(settings, options.edge_url, options.api_url)
    now = datetime.now(UTC)
    period = Period.around(now)
    skipped: Counter[str] = Counter()
    tally = Tally()
    async with AsyncExitStack() as stack:
        log = stack.enter_context(open_log(options.log))
        api = await stack.enter_async_context(open_api(endpoints.api_url))
        driver = await stack.enter_async_context(open_driver(endpoints.edge_url))
        account, campaign = await _campaign(settings, options, endpoints, api, now)
        link = TrackingLink.of(campaign.tracking_url)
        await driver.wait_for_link(link, must_redirect=account is not None)
        before = (await api.campaign_figures(campaign.id, period)).clicks

        await _drive(driver, link, log, options, skipped, tally)
        if tally.sent == 0:
            found = f": {reasons_text(skipped)}" if skipped else ""
            raise RehearsalError(f"{options.log} has no line that is a click{found}")

        answered = tally.with_status(_CAMPAIGN_COUNTED if account is None else _OWN_COUNTED)
        settled = await _settled(api, campaign, period, before + answered, patience or Patience())
        total = await api.account_figures(period) if account is not None else None
    clicks = settled.reading.clicks - before
    return Replay(campaign, account, tally, skipped, answered, clicks, settled, total, log.damage)


async def _campaign(
    settings: Settings, options: ReplayOptions, endpoints: Endpoints, api: ApiClient, now: datetime
) -> tuple[OwnAccount | None, Campaign]:
    if options.campaign is not None:
        await api.log_in(options.email or "", options.password or "")
        return None, await api.campaign(options.campaign)
    account = await make_account(settings, endpoints.database_url, "replay", now)
    await api.log_in(account.email, account.password)
    wanted = NewCampaign(f"replay of {options.log.name}"[:255], "cpc", _CLICK_COST, _DESTINATION)
    return account, await api.create_campaign(wanted)


async def _drive(
    driver: Driver, link: TrackingLink, log: LogFile, options: ReplayOptions, skipped: Counter[str], tally: Tally
) -> None:
    limit = options.limit
    clicks = islice(read_clicks(log, skipped), limit)
    with stage("Driving") as shown:

        async def send(click: LogClick) -> Answer:
            share = tally.sent / limit if limit is not None else log.position / log.size if log.size else None
            shown.show(share, f"{plural(tally.sent, 'click')}, {tally.per_second:,.0f}/s")
            return await driver.visit(link, Visit.of_log(click))

        await drive(due(clicks, options.pace), send, tally)


async def _settled(
    api: ApiClient, campaign: Campaign, period: Period, wanted: int, patience: Patience
) -> Settled[Figures]:
    with stage("Waiting for the figures") as shown:

        def notify(figures: Figures) -> None:
            shown.show(figures.clicks / wanted if wanted else None, f"{figures.clicks:,} of {wanted:,} clicks")

        async def read() -> Figures:
            return await api.campaign_figures(campaign.id, period)

        return await settle(read, lambda figures: figures.clicks == wanted, patience, notify)


def show(outcome: Replay, console: Console) -> None:
    """Print what was sent and what the API counts."""
    tally = outcome.tally
    console.print(sent_table("Sent", tally, outcome.skipped))
    rows = [(outcome.campaign.name, outcome.settled.reading)]
    print_figures(console, "Figures of the API", rows, outcome.total)
    if tally.gave_up:
        say(console, "The edge stopped answering: the rest of the log was not sent.", style="red")
    if outcome.damage is not None:
        say(console, f"The log is damaged and was read up to there: {outcome.damage}", style="red")
    if outcome.exact:
        say(console, f"Each of the {plural(outcome.answered, 'answered click')} is counted once.", style="green")
    else:
        say(console, _shortfall(outcome), style="red")
    if outcome.account is not None and console.is_terminal:
        say(console, f"Its own account, shown only now: {outcome.account.email} {outcome.account.password}")


def _shortfall(outcome: Replay) -> str:
    counted = f"{plural(outcome.answered, 'click')} were answered, the API counts {outcome.clicks:,}"
    if outcome.clicks == outcome.answered:
        return f"{counted}, but its figures were still moving when the wait ended."
    if outcome.explained:
        unanswered = plural(outcome.tally.unanswered.total(), "unanswered request")
        return f"{counted}: the difference can be counted requests among the {unanswered}."
    return f"{counted}."
