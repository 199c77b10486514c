"""An advertiser's postback as a list of steps. Nothing is awaited but its body and the journal."""

import time
import uuid

import structlog
from starlette.requests import Request
from starlette.responses import Response

from edge import errors, respond
from edge.click_request import RequestReader, announces_prefetch
from edge.client_ip import IpStorage, stored_ip
from edge.counters import Counters
from edge.postback_body import BodyRefused, read_call
from edge.postbacks import REFUSING, Nonces, Sender, expired, judge, masked_query
from edge.routing_table import RoutingTable
from edge.table import Campaign, Table
from shared import events, postback
from shared.ids import ClickId, ClickIds, FutureKey, InvalidClickId, conversion_id
from shared.journal import JournalFailed, JournalWriter
from shared.postback import PostbackCall, RefusedPostback
from shared.traffic import ClickMode, TrafficClass

log = structlog.get_logger("edge.postback_handler")

_CLICK = int(ClickMode.CLICK)
_HEAD = int(ClickMode.HEAD)
_PREFETCH = int(ClickMode.PREFETCH)
_BOT = int(TrafficClass.BOT)


class PostbackHandler:
    """`GET` and `POST /api/v1/postback`."""

    def __init__(
        self,
        routing: RoutingTable,
        journal: JournalWriter,
        click_ids: ClickIds,
        reader: RequestReader,
        counters: Counters,
        ip_storage: IpStorage,
    ) -> None:
        self._routing = routing
        self._journal = journal
        self._click_ids = click_ids
        self._reader = reader
        self._counters = counters
        self._ip_storage = ip_storage
        self._nonces = Nonces()

    async def handle(self, request: Request, headers: dict[bytes, bytes]) -> Response:
        if request.method == "OPTIONS":
            return respond.empty(204, allow=_POSTBACK_METHODS)
        if request.method not in ("GET", "POST"):
            self._counters.add("refused_methods")
            return respond.failure(errors.METHOD_NOT_ALLOWED, allow=_POSTBACK_METHODS)
        if announces_prefetch(headers):
            return self._uncounted("PREFETCH", errors.PREFETCHED)
        table = self._routing.current
        if table is None:
            self._counters.add("not_ready")
            return respond.failure(errors.NOT_READY)
        try:
            given, fields = await read_call(request)
        except BodyRefused as refusal:
            return self._uncounted("UNREADABLE", refusal.error)

        now_ms = time.time_ns() // 1_000_000
        peer = request.scope.get("client")
        address = self._reader.address(peer[0] if peer else "", headers, request.scope["headers"])
        sender = Sender(address, fields, given)
        try:
            click = self._click_ids.prove(fields.get("click_id", "").strip())
        except FutureKey:
            return self._uncounted("FUTURE_KEY", errors.FUTURE_KEY)
        except InvalidClickId:
            return self._unproven(fields, now_ms)
        campaign = table.by_id.get(click.campaign_id)
        if campaign is None:
            return self._refused_uncounted(postback.INVALID_CLICK_ID)
        try:
            call = postback.read(fields, now_ms)
        except RefusedPostback as refusal:
            unread = PostbackCall(click.text, "", "", "", None, None, None)
            return await self._store(request, table, campaign, click, unread, sender, refusal.reason, now_ms)
        if expired(campaign, click.time_ms, now_ms):
            reason = postback.CLICK_EXPIRED
        else:
            reason = judge(campaign, table.accounts.get(campaign.account_id), call, sender, self._nonces, now_ms)
        return await self._store(request, table, campaign, click, call, sender, reason, now_ms)

    async def _store(
        self,
        request: Request,
        table: Table,
        campaign: Campaign,
        click: ClickId,
        call: PostbackCall,
        sender: Sender,
        reason: int,
        now_ms: int,
    ) -> Response:
        """Journal the call with its reason, then answer: 200 means stored."""
        row = campaign.row
        refused = reason in REFUSING or reason in _UNREADABLE or reason == postback.CLICK_EXPIRED
        error = errors.of_reason(reason) if refused else None
        postback_id = uuid.uuid4().hex
        repeat = postback_id if row.duplicate_mode == "new" and not call.transaction_id else ""
        conversion = conversion_id(campaign.account_id, click.raw, call.event, call.transaction_id, repeat=repeat)
        event: events.Event = {
            "v": events.VERSION,
            "id": postback_id,
            "ts": now_ms,
            "account": campaign.account_id,
            "campaign": campaign.id,
            "click_id": click.text,
            "conversion_id": conversion,
            "event": call.event,
            "transaction_id": call.transaction_id,
            "status": call.status,
            "payout": None if call.payout is None else f"{call.payout:f}",
            "default_payout": row.default_payout,
            "currency": call.currency or _currency(table, campaign),
            "time": call.time_ms,
            "reason": reason,
            "http_status": 200 if error is None else error.status,
            "security": row.postback_security,
            "trusted": row.postback_security != "open" and not refused,
            "duplicate_mode": row.duplicate_mode,
            "cost_model": row.cost_model,
            "cost_value": row.cost_value,
            "source_ip": stored_ip(sender.address, self._ip_storage),
            "method": request.method,
            "query": masked_query(sender.pairs),
            "origin": "postback",
        }
        try:
            await self._journal.append(events.POSTBACK, events.encode(event))
        except JournalFailed:
            self._counters.add("journal_refused")
            return respond.failure(errors.NOT_DURABLE)
        self._counters.postback(reason)
        if error is not None:
            return respond.failure(error, details={"reason": [postback.REASONS[reason][0]]})
        text = postback.plain_answer(dict(sender.fields))
        if text is not None:
            return respond.plain(text)
        return respond.success({"conversion_id": conversion, "click_id": click.text, "status": call.status})

    def _unproven(self, fields: dict[str, str], now_ms: int) -> Response:
        """A call whose click id proves nothing: the sentence that helps its sender most."""
        try:
            postback.read(fields, now_ms)
        except RefusedPostback as refusal:
            if refusal.reason in (postback.MISSING_CLICK_ID, postback.UNEXPANDED_MACRO):
                return self._refused_uncounted(refusal.reason)
        return self._refused_uncounted(postback.INVALID_CLICK_ID)

    def _refused_uncounted(self, reason: int) -> Response:
        name = postback.REASONS[reason][0]
        return self._uncounted(name, errors.of_reason(reason), {"reason": [name]})

    def _uncounted(self, reason: str, error: errors.EdgeError, details: dict[str, list[str]] | None = None) -> Response:
        self._counters.add_reason("postbacks_uncounted", reason)
        return respond.failure(error, details=details)


_POSTBACK_METHODS = "GET, POST, OPTIONS"
_UNREADABLE = frozenset(
    (
        postback.INVALID_PAYOUT,
        postback.UNEXPANDED_MACRO,
        postback.UNKNOWN_STATUS,
        postback.INVALID_TRANSACTION_ID,
    )
)


def _currency(table: Table, campaign: Campaign) -> str:
    account = table.accounts.get(campaign.account_id)
    return account.currency if account is not None else "USD"
