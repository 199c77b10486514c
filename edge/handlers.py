"""The two calls that matter: a click on a tracking link and an advertiser's postback, each a list of steps.

Nothing is awaited but the journal (and a postback's own body): no Redis, no broker, no database.
"""

import time

from edge import respond
from edge.classify import Classifier
from edge.click_event import bounded, click_event
from edge.click_request import RequestReader
from edge.client_ip import IpStorage
from edge.counters import Counters
from edge.decide import decide
from edge.macro_values import MacroSource, macro_values
from edge.parse import link_parameters
from edge.respond import Scope, Send
from edge.routing_table import RoutingTable
from edge.table import Campaign, Table
from edge.visitor import KeyMaker
from shared import events
from shared.ids import ClickIds
from shared.journal import JournalFailed, JournalWriter
from shared.traffic import ClickMode, TrafficClass

_CLICK = int(ClickMode.CLICK)
_HEAD = int(ClickMode.HEAD)
_PREFETCH = int(ClickMode.PREFETCH)
_BOT = int(TrafficClass.BOT)


class ClickHandler:
    """`GET /c/{uuid}`."""

    def __init__(
        self,
        routing: RoutingTable,
        journal: JournalWriter,
        classifier: Classifier,
        click_ids: ClickIds,
        reader: RequestReader,
        counters: Counters,
        ip_storage: IpStorage,
    ) -> None:
        self._routing = routing
        self._append = journal.append
        self._classify = classifier.classify
        self._issue = click_ids.issue
        self._read = reader.read
        self._counters = counters
        self._ip_storage = ip_storage
        self._keys = KeyMaker().keys

    async def handle(self, scope: Scope, headers: dict[bytes, bytes], send: Send) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            self._counters.add("refused_methods")
            return await (respond.LINK_OPTIONS if method == "OPTIONS" else respond.LINK_METHOD).send(send)
        table = self._routing.current
        if table is None:
            self._counters.add("not_ready")
            return await respond.UNAVAILABLE.send(send)

        campaign = _find(table, scope["path"])
        if campaign is None:
            self._counters.add("unknown_links")
            return await respond.NOT_FOUND.send(send)

        now_ms = time.time_ns() // 1_000_000
        request = self._read(scope, headers)
        parameters = link_parameters(scope["query_string"], campaign.source)
        judgement = self._classify(request.user_agent, request.address, request.prefetch)
        verdict, agent, network = judgement
        bot = verdict.traffic_class == _BOT and not verdict.bot_action_exempt
        decision = decide(campaign, table.accounts.get(campaign.account_id), bot=bot)
        mode = _PREFETCH if request.prefetch else _CLICK if method == "GET" else _HEAD

        click_id = self._issue(campaign.id, now_ms)
        keys = self._keys(
            table.salts,
            now_ms,
            request.address,
            request.raw_user_agent,
            request.raw_accept_language,
            campaign.key_part,
        )
        location = ""
        if decision.template is not None and mode != _PREFETCH:
            cost = campaign.row.click_cost if parameters.cost is None else parameters.cost
            source = MacroSource(
                click_id, campaign, parameters, agent, network, request.language, request.referrer_domain, cost, now_ms
            )
            location = decision.template.expand(macro_values(decision.template.names, source))
        event = click_event(
            click_id,
            now_ms,
            mode,
            campaign,
            request,
            parameters,
            judgement,
            decision,
            keys,
            location,
            self._ip_storage,
        )
        try:
            await self._append(events.CLICK, bounded(event))
        except JournalFailed:
            self._counters.add("journal_refused")
            return await respond.UNAVAILABLE.send(send)
        self._counters.click(mode, verdict.traffic_class, decision.outcome)

        if mode == _PREFETCH:
            return await respond.PREFETCHED.send(send)
        if decision.template is None:
            return await respond.WITHOUT_TARGET[decision.status].send(send)
        await respond.redirect(send, location.encode("ascii"))


def _find(table: Table, path: str) -> Campaign | None:
    slug = path[3:]
    campaign = table.by_uuid.get(slug) or table.by_uuid.get(slug.lower())
    return None if campaign is None or campaign.status == "deleted" else campaign
