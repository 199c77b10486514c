"""`milepost demo`: seeded traffic for an account of its own, and every figure of the API held against the plan."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from management.rehearsal.api_client import ApiClient, Campaign, NewCampaign, Period, open_api
from management.rehearsal.driver import Answer, Driver, Tally, TrackingLink, drive, open_driver
from management.rehearsal.endpoints import find_endpoints, require_trusted_loopback
from management.rehearsal.errors import RehearsalError, Unanswered
from management.rehearsal.expectation import expected_figures
from management.rehearsal.figures import Difference, Figures, differences
from management.rehearsal.listed_addresses import read_lists
from management.rehearsal.own_account import OwnAccount, make_account
from management.rehearsal.plan import Plan, PlannedVisit, make_plan
from management.rehearsal.progress import error_console, stage
from management.rehearsal.report import differences_table, plural, print_figures, say, sent_table
from management.rehearsal.settling import Patience, Settled, settle
from shared.env import Settings

_DESTINATION: Final = "https://shop.example/?clickid={clickid}&page={sub1}"
_MOST_CLICKS: Final = 1_000_000
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The command line. `clicks` counts those that are in the figures; HEADs and prefetches come on top."""

    seed: int = 1
    clicks: int = 2_000

    def check(self) -> None:
        """Raises RehearsalError for a number of clicks that is none."""
        if not 1 <= self.clicks <= _MOST_CLICKS:
            raise RehearsalError(f"--clicks must be from 1 to {_MOST_CLICKS:,}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the visits (prefetches are answered 503) and of the postbacks."""

    visits: Tally = field(default_factory=Tally)
    postbacks: Tally = field(default_factory=Tally)

    @property
    def unanswered(self) -> int:
        return self.visits.unanswered.total() + self.postbacks.unanswered.total()


@dataclass(frozen=True, slots=True)
class AllFigures:
    """Of each campaign, in the plan's order, and of the account."""

    campaigns: tuple[Figures, ...]
    total: Figures


@dataclass(frozen=True, slots=True)
class Demo:
    """What came of it."""

    account: OwnAccount
    plan: Plan
    campaigns: tuple[Campaign, ...]
    has_vpn: bool
    sent: Sent
    expected: AllFigures
    settled: Settled[AllFigures]

    @property
    def exact(self) -> bool:
        """Every figure is what was sent."""
        return self.settled.agreed

    @property
    def differences(self) -> list[Difference]:
        """Every figure that is not what was sent, the account's last."""
        found = self.settled.reading
        names = [campaign.name for campaign in self.campaigns]
        rows = zip(names, self.expected.campaigns, found.campaigns, strict=True)
        return [
            difference
            for row in (*rows, ("total", self.expected.total, found.total))
            for difference in differences(*row)
        ]


async def demo(settings: Settings, options: DemoOptions, console: Console) -> int:
    """Drive the demo and print the figures; gives the exit status: 1 when any figure is not what was sent."""
    try:
        outcome = await run_demo(settings, options)
    except RehearsalError as error:
        error_console().print(f"milepost: {error}")
        return 1
    show(outcome, console)
    return 0 if outcome.exact else 1


async def run_demo(settings: Settings, options: DemoOptions, patience: Patience | None = None) -> Demo:
    """Drive the demo, wait for the figures and give them beside the expected ones; raises RehearsalError."""
    options.check()
    require_trusted_loopback(settings)
    endpoints = find_endpoints(settings)
    listed = read_lists(settings.ip_data_dir)
    plan = make_plan(options.seed, options.clicks, listed)
    expected = AllFigures(*expected_figures(plan))
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(open_api(endpoints.api_url))
        driver = await stack.enter_async_context(open_driver(endpoints.edge_url))
        account = await make_account(settings, endpoints.database_url, "demo", now)
        await api.log_in(account.email, account.password)
        campaigns = tuple([await _create(api, plan, number) for number in range(len(plan.campaigns))])
        links = [TrackingLink.of(campaign.tracking_url) for campaign in campaigns]
        for link in links:
            await driver.wait_for_link(link, must_redirect=True)
        sent = await _drive(driver, plan, links)
        settled = await _settled(api, campaigns, Period.around(now), expected, patience or Patience())
    return Demo(account, plan, campaigns, listed.has_vpn, sent, expected, settled)


async def _create(api: ApiClient, plan: Plan, number: int) -> Campaign:
    wanted = plan.campaigns[number]
    return await api.create_campaign(
        NewCampaign(wanted.name, wanted.cost_model, wanted.cost_value, _DESTINATION, wanted.default_payout)
    )


async def _drive(driver: Driver, plan: Plan, links: Sequence[TrackingLink]) -> Sent:
    sent = Sent()
    with stage("Driving") as shown:

        async def send(planned: PlannedVisit) -> Answer:
            done = sent.visits.sent
            shown.show(done / len(plan.visits), f"{plural(done, 'visit')}, {sent.visits.per_second:,.0f}/s")
            answer = await driver.visit(links[planned.campaign], planned.visit)
            # At once, while the click itself is still on its way: it has to wait for it.
            for postback in planned.postbacks if answer.click_id else ():
                await _convert(driver, postback.parameters(answer.click_id), sent.postbacks)
            return answer

        await drive(((0.0, planned) for planned in plan.visits), send, sent.visits, _AT_ONCE)
    return sent


async def _convert(driver: Driver, parameters: dict[str, str], tally: Tally) -> None:
    try:
        tally.take(await driver.postback(parameters))
    except Unanswered as error:
        tally.miss(str(error))


async def _settled(
    api: ApiClient, campaigns: Sequence[Campaign], period: Period, expected: AllFigures, patience: Patience
) -> Settled[AllFigures]:
    with stage("Waiting for the figures") as shown:

        def notify(found: AllFigures) -> None:
            clicks, conversions = found.total.clicks, found.total.conversions
            shown.show(
                clicks / expected.total.clicks, f"{plural(clicks, 'click')}, {plural(conversions, 'conversion')}"
            )

        async def read() -> AllFigures:
            return AllFigures(
                tuple([await api.campaign_figures(campaign.id, period) for campaign in campaigns]),
                await api.account_figures(period),
            )

        return await settle(read, lambda found: found == expected, patience, notify)


def show(outcome: Demo, console: Console) -> None:
    """Print what was sent, what the API counts, and whether the two are one."""
    console.print(sent_table("Visits", outcome.sent.visits, {}))
    console.print(sent_table("Postbacks", outcome.sent.postbacks, {}))
    say(console, f"Among the visits {_uncounted(outcome.plan)}: they are in no figure.")
    if not outcome.has_vpn:
        say(console, "There is no vpn.txt or datacenter.txt to take VPN addresses from, so none was sent: 0 vpn.")
    found = outcome.settled.reading
    rows = [(campaign.name, figures) for campaign, figures in zip(outcome.campaigns, found.campaigns, strict=True)]
    print_figures(console, "Figures of the API", rows, found.total)
    if outcome.exact:
        say(console, "Every figure matches what was sent.", style="green")
    else:
        _show_differences(outcome, console)
    if console.is_terminal:
        say(console, f"Its own account, shown only now: {outcome.account.email} {outcome.account.password}")


def _uncounted(plan: Plan) -> str:
    prefetches = sum(planned.visit.prefetch for planned in plan.visits)
    heads = sum(planned.visit.method == "HEAD" for planned in plan.visits)
    verb = "was" if heads + prefetches == 1 else "were"
    return f"{verb} {plural(heads, 'HEAD')} and {plural(prefetches, 'prefetch', 'prefetches')}"


def _show_differences(outcome: Demo, console: Console) -> None:
    if outcome.sent.unanswered:
        unanswered = plural(outcome.sent.unanswered, "request")
        say(console, f"{unanswered} got no answer, so the figures cannot be those of the whole plan.", style="red")
    found = outcome.differences
    if found:
        console.print(differences_table(found))
        say(console, f"{plural(len(found), 'figure differs', 'figures differ')} from what was sent.", style="red")
    else:
        say(console, "The figures match what was sent, but were still moving when the wait ended.", style="red")
