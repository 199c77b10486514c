"""One request for a link, from what was sent to what is answered and what must be on disk before it. Pure.

find campaign → read request → classify → decide → make ids → expand the destination → encode the event
"""

from typing import Final

from edge import answers
from edge.answers import Answer
from edge.classify import Classifier
from edge.click_event import click_payload
from edge.click_request import RequestReader
from edge.client_ip import IpStorage
from edge.decide import decide
from edge.parse import link_parameters
from edge.request_head import Pairs
from edge.table import Campaign, Table
from edge.visitor import KeyMaker
from shared.ids import ClickIds
from shared.traffic import ClickMode, TrafficClass

_CLICK: Final = int(ClickMode.CLICK)
_HEAD: Final = int(ClickMode.HEAD)
_PREFETCH: Final = int(ClickMode.PREFETCH)
_BOT: Final = int(TrafficClass.BOT)

Labels = tuple[int, int, int]
"""ClickMode, TrafficClass and Outcome: what a click is counted under."""

Click = tuple[bytes, Answer | None, bytes, Labels]
"""The event to journal; the answer, or None and the location of a redirect; the labels. A bare tuple, because one is
made for every click."""


class ClickCore:
    """Judges requests for links; holds what its steps remember, and nothing of any connection."""

    def __init__(
        self, classifier: Classifier, click_ids: ClickIds, reader: RequestReader, ip_storage: IpStorage
    ) -> None:
        self._classify = classifier.classify
        self._issue = click_ids.issue
        self._read = reader.read
        self.address = reader.address
        self._ip_storage: IpStorage = ip_storage
        self._keys = KeyMaker().keys

    def judge(
        self,
        table: Table,
        method: str,
        path: str,
        query: bytes,
        headers: dict[bytes, bytes],
        pairs: Pairs,
        peer: str,
        scheme: str,
        now_ms: int,
        reported_ms: int,
    ) -> Click | None:
        """What a GET or HEAD of `path` comes to, None for an unknown link. `headers` is `pairs` as a mapping, `peer`
        the other end's address, `scheme` the connection's; `now_ms` is what the clock says, `reported_ms` what is
        reported (edge.clock)."""
        campaign = find(table, path)
        if campaign is None:
            return None
        request = self._read(peer, scheme, headers, pairs)
        parameters = link_parameters(query, campaign.source)
        judgement = self._classify(request.user_agent, request.address, request.prefetch)
        verdict, agent, network = judgement
        bot = verdict.traffic_class == _BOT and not verdict.bot_action_exempt
        decision = decide(campaign, table.accounts.get(campaign.account_id), bot=bot)
        mode = _PREFETCH if request.prefetch else _CLICK if method == "GET" else _HEAD

        click_id = self._issue(campaign.id, now_ms)
        keys = self._keys(
            table.salts,
            reported_ms,
            request.address,
            request.raw_user_agent,
            request.raw_accept_language,
            campaign.key_part,
        )
        location = ""
        if decision.template is not None and mode != _PREFETCH:
            location = decision.template.location(click_id, campaign, parameters, agent, network, request, reported_ms)
        event = click_payload(
            click_id,
            reported_ms,
            mode,
            campaign,
            request,
            parameters,
            judgement,
            decision,
            keys,
            location,
            self._ip_storage,
            clock_suspect=reported_ms != now_ms,
        )
        answer = None
        if mode == _PREFETCH:
            answer = answers.PREFETCHED
        elif decision.template is None:
            answer = answers.WITHOUT_TARGET[decision.status]
        return event, answer, location.encode("ascii"), (mode, verdict.traffic_class, decision.outcome)


def find(table: Table, path: str) -> Campaign | None:
    """The campaign that answers at `/c/…`, whatever its state; none once it is deleted."""
    slug = path[3:]
    campaign = table.by_uuid.get(slug) or table.by_uuid.get(slug.lower())
    return None if campaign is None or campaign.status == "deleted" else campaign
