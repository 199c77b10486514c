"""Where a click is sent: every state of account and campaign, every bot_action, with and without fallbacks.

Who counts as a bot is the classifier's business (unit/classify); the HTTP answers are in integration/edge.
"""

import pytest

from edge.decide import decide
from shared.traffic import Outcome
from tests.unit.edge.builders import DESTINATION, account, campaign

CAMPAIGN_FALLBACK = "https://fallback.example/campaign"
ACCOUNT_FALLBACK = "https://fallback.example/account"


def sent_to(template: object) -> str | None:
    return None if template is None else template.expand({})  # type: ignore[attr-defined]


def test_an_active_campaign_redirects_to_its_destination() -> None:
    decision = decide(campaign(fallback_url=CAMPAIGN_FALLBACK), account(fallback_url=ACCOUNT_FALLBACK), bot=False)
    assert (decision.outcome, decision.status) == (Outcome.REDIRECTED, 302)
    assert sent_to(decision.template) == DESTINATION.replace("{clickid}", "")
    assert decision.how == ("campaign_active", "destination")


@pytest.mark.parametrize(
    ("changes", "bot", "outcome"),
    [
        ({"status": "paused"}, False, Outcome.PAUSED),
        ({"status": "inactive"}, False, Outcome.INACTIVE),
        ({"destination_url": None}, False, Outcome.NO_DESTINATION),
        ({"destination_url": "https://{sub1}/"}, False, Outcome.NO_DESTINATION),
        ({"bot_action": "fallback"}, True, Outcome.FALLBACK),
        ({"status": "paused", "bot_action": "block"}, True, Outcome.PAUSED),
    ],
)
def test_what_cannot_be_sent_on_goes_to_the_nearest_fallback(
    changes: dict[str, str], bot: bool, outcome: Outcome
) -> None:
    rich, poor = account(fallback_url=ACCOUNT_FALLBACK), account()
    own = decide(campaign(fallback_url=CAMPAIGN_FALLBACK, **changes), rich, bot=bot)
    inherited = decide(campaign(**changes), rich, bot=bot)
    none = decide(campaign(**changes), poor, bot=bot)
    assert (own.outcome, own.status, sent_to(own.template)) == (outcome, 302, CAMPAIGN_FALLBACK)
    assert (inherited.outcome, inherited.status, sent_to(inherited.template)) == (outcome, 302, ACCOUNT_FALLBACK)
    assert (none.status, none.template) == (404, None)
    assert own.how[1:] == ("campaign_fallback",)
    assert inherited.how[1:] == ("account_fallback",)
    assert none.how[1:] == ("not_found",)
    # a bot that is sent nowhere was blocked
    assert none.outcome == (Outcome.BLOCKED if outcome == Outcome.FALLBACK else outcome)


def test_a_suspended_account_gives_its_own_fallback_whatever_the_campaign_has() -> None:
    suspended = account(status="suspended", fallback_url=ACCOUNT_FALLBACK)
    decision = decide(campaign(fallback_url=CAMPAIGN_FALLBACK), suspended, bot=True)
    assert (decision.outcome, decision.status) == (Outcome.SUSPENDED, 302)
    assert sent_to(decision.template) == ACCOUNT_FALLBACK


def test_a_suspended_account_without_fallback_is_gone() -> None:
    decision = decide(campaign(fallback_url=CAMPAIGN_FALLBACK), account(status="suspended"), bot=False)
    assert (decision.outcome, decision.status, decision.template) == (Outcome.SUSPENDED, 410, None)


def test_block_answers_a_bot_with_404_even_where_there_is_a_fallback() -> None:
    decision = decide(campaign(bot_action="block", fallback_url=CAMPAIGN_FALLBACK), account(), bot=True)
    assert (decision.outcome, decision.status, decision.template) == (Outcome.BLOCKED, 404, None)


@pytest.mark.parametrize("bot_action", ["pass", "fallback", "block"])
def test_a_person_is_never_touched_by_bot_action(bot_action: str) -> None:
    decision = decide(campaign(bot_action=bot_action, fallback_url=CAMPAIGN_FALLBACK), account(), bot=False)
    assert decision.outcome == Outcome.REDIRECTED


def test_a_bot_passes_where_bots_pass() -> None:
    assert decide(campaign(bot_action="pass"), account(), bot=True).outcome == Outcome.REDIRECTED


def test_a_campaign_whose_account_is_not_known_still_redirects() -> None:
    assert decide(campaign(), None, bot=False).outcome == Outcome.REDIRECTED
