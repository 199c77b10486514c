"""Where a click is sent, and why: from the campaign, its account and the verdict to a decision. Pure.

The order of the rules is the argument: an account's suspension beats everything its campaign says, the campaign's
state beats what it does with bots, and only a campaign that could redirect asks who the visitor is.
"""

from dataclasses import dataclass
from typing import Final

from edge.macro_values import Destination
from edge.table import Account, Campaign
from shared.traffic import Outcome

_REDIRECTED = int(Outcome.REDIRECTED)
_FALLBACK = int(Outcome.FALLBACK)
_NO_DESTINATION = int(Outcome.NO_DESTINATION)
_SUSPENDED = int(Outcome.SUSPENDED)
_BLOCKED = int(Outcome.BLOCKED)
_BY_STATUS: Final = {"paused": int(Outcome.PAUSED), "inactive": int(Outcome.INACTIVE)}

FOUND, NOT_FOUND, GONE = 302, 404, 410


@dataclass(slots=True)
class Decision:
    """`outcome` is a number of shared.traffic.Outcome; `template` None means that no URL is given; `how` names what
    decided, in order."""

    outcome: int
    template: Destination | None
    status: int
    how: tuple[str, ...]


def decide(campaign: Campaign, account: Account | None, *, bot: bool) -> Decision:
    """The decision on one click of a campaign that is not deleted.

    `bot` says that the visitor is a bot to whom `bot_action` applies: a verified crawler of a search engine or ad
    platform is none, it is routed like a person (detection.md section 1).
    """
    if account is not None and account.suspended:
        if account.fallback is not None:
            return Decision(_SUSPENDED, account.fallback, FOUND, ("account_suspended", "account_fallback"))
        return Decision(_SUSPENDED, None, GONE, ("account_suspended", "gone"))
    if campaign.status != "active":
        outcome = _BY_STATUS.get(campaign.status, _BY_STATUS["inactive"])
        return _fallback(campaign, account, outcome, outcome, f"campaign_{campaign.status}")
    if bot:
        if campaign.row.bot_action == "block":
            return Decision(_BLOCKED, None, NOT_FOUND, ("bot_action_block", "not_found"))
        if campaign.row.bot_action == "fallback":
            return _fallback(campaign, account, _FALLBACK, _BLOCKED, "bot_action_fallback")
    if campaign.destination is None:
        return _fallback(campaign, account, _NO_DESTINATION, _NO_DESTINATION, "no_destination")
    return Decision(_REDIRECTED, campaign.destination, FOUND, _TO_DESTINATION)


_TO_DESTINATION = ("campaign_active", "destination")


def _fallback(campaign: Campaign, account: Account | None, sent: int, refused: int, why: str) -> Decision:
    if campaign.fallback is not None:
        return Decision(sent, campaign.fallback, FOUND, (why, "campaign_fallback"))
    if account is not None and account.fallback is not None:
        return Decision(sent, account.fallback, FOUND, (why, "account_fallback"))
    return Decision(refused, None, NOT_FOUND, (why, "not_found"))
