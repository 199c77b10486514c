"""An advertiser's postback as a list of steps. Nothing is awaited but its body and the journal."""

import time
import uuid
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from edge import errors, respond
from edge.budget import SourceRate
from edge.click_request import RequestReader, announces_prefetch
from edge.client_ip import IpStorage, stored_ip
from edge.clock import Clock
from edge.counters import Counters
from edge.postback_body import BodyRefused, read_call
from edge.postbacks import REFUSING, Nonces, Sender, expired, judge, masked_query
from edge.routing_table import RoutingTable
from edge.strangers import Strangers
from edge.table import Campaign, Table
from shared import events, postback
from shared.ids import ClickId, ClickIds, FutureKey, InvalidClickId, conversion_id
from shared.journal import JournalFull, JournalWriter, NotJournaled
from shared.postback import PostbackCall, RefusedPostback


class _Arrival(NamedTuple):
    """One call as it came; `now` in monotonic seconds."""

    method: str
    headers: dict[bytes, bytes]
    sender: Sender
    now_ms: int
    now: float


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
        rate: SourceRate,
        strangers: Strangers,
        clock: Clock,
    ) -> None:
        self._routing = routing
        self._journal = journal
        self._click_ids = click_ids
        self._reader = reader
        self._counters = counters
        self._ip_storage: IpStorage = ip_storage
        self._rate = rate
        self._strangers = strangers
        self._clock = clock
        self._nonces = Nonces()

    async def handle(self, request: Request, headers: dict[bytes, bytes]) -> Response:
        if request.method == "OPTIONS":
            return respond.empty(204, allow=_POSTBACK_METHODS)
        if request.method not in ("GET", "POST"):
            self._counters.add("refused_methods")
            return respond.failure(errors.METHOD_NOT_ALLOWED, allow=_POSTBACK_METHODS)
        now = time.monotonic()
        peer = request.scope["client"][0] if request.scope.get("client") else ""
        address = self._reader.address(peer, headers, request.scope["headers"])
        if not self._rate.take(address, now):
            return self._uncounted("OVER_RATE", errors.OVER_RATE)
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

        _, now_ms = self._clock.now()
        arrival = _Arrival(request.method, headers, Sender(address, fields, given), now_ms, now)
        try:
            click = self._click_ids.prove(fields.get("click_id", "").strip())
        except FutureKey:
            return self._uncounted("FUTURE_KEY", errors.FUTURE_KEY)
        except InvalidClickId:
            return self._unproven(arrival, _what_is_wrong(fields, now_ms))
        campaign = table.by_id.get(click.campaign_id)
        if campaign is None:
            return self._unproven(arrival, postback.INVALID_CLICK_ID)
        try:
            call = postback.read(fields, now_ms)
        except RefusedPostback as refusal:
            unread = PostbackCall(click.text, "", "", "", None, None, None)
            return await self._store(arrival, table, campaign, click, unread, refusal.reason)
        if expired(campaign, click.time_ms, now_ms):
            reason = postback.CLICK_EXPIRED
        else:
            account = table.accounts.get(campaign.account_id)
            reason = judge(campaign, account, call, arrival.sender, self._nonces, now_ms)
        return await self._store(arrival, table, campaign, click, call, reason)

    async def _store(
        self, arrival: _Arrival, table: Table, campaign: Campaign, click: ClickId, call: PostbackCall, reason: int
    ) -> Response:
        """Journal the call with its reason, then answer: 200 means stored. A refusal says no such thing, so the one
        that is beyond the budget, or finds the journal full, is answered all the same."""
        name = postback.REASONS[reason][0]
        refused = reason in REFUSING or reason in _UNREADABLE or reason == postback.CLICK_EXPIRED
        error = errors.of_reason(reason) if refused else None
        if error is not None and not self._strangers.may_keep(name, arrival.sender.address, arrival.now):
            return respond.failure(error, details={"reason": [name]})
        row = campaign.row
        postback_id = uuid.uuid4().hex
        repeat = postback_id if row.duplicate_mode == "new" and not call.transaction_id else ""
        conversion = conversion_id(campaign.account_id, click.raw, call.event, call.transaction_id, repeat=repeat)
        event: events.Event = {
            "v": events.VERSION,
            "id": postback_id,
            "ts": arrival.now_ms,
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
            "source_ip": stored_ip(arrival.sender.address, self._ip_storage),
            "method": arrival.method,
            "query": masked_query(arrival.sender.pairs),
            "origin": "postback",
        }
        try:
            # The last reserve is for calls that were promised to be stored, not for refusals.
            await self._journal.append(events.POSTBACK, events.encode(event), reserved=not refused)
        except NotJournaled as failure:
            if error is None or not isinstance(failure, JournalFull):
                self._counters.add("refused_for_space" if isinstance(failure, JournalFull) else "journal_refused")
                return respond.failure(errors.NOT_DURABLE)
            self._counters.add_reason("strangers_unrecorded", name)
        else:
            self._counters.postback(reason)
        if error is not None:
            return respond.failure(error, details={"reason": [name]})
        text = postback.plain_answer(dict(arrival.sender.fields))
        if text is not None:
            return respond.plain(text)
        return respond.success({"conversion_id": conversion, "click_id": click.text, "status": call.status})

    def _unproven(self, arrival: _Arrival, reason: int) -> Response:
        self._strangers.unproven_postback(
            arrival.now_ms,
            arrival.now,
            arrival.method,
            reason,
            arrival.sender.pairs,
            arrival.sender.address,
            arrival.headers.get(b"user-agent", b""),
            arrival.headers.get(b"referer", b""),
        )
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


def _what_is_wrong(fields: dict[str, str], now_ms: int) -> int:
    """Of a call whose click id proves nothing: the reason that helps its sender most."""
    try:
        postback.read(fields, now_ms)
    except RefusedPostback as refusal:
        if refusal.reason in (postback.MISSING_CLICK_ID, postback.UNEXPANDED_MACRO):
            return refusal.reason
    return postback.INVALID_CLICK_ID


def _currency(table: Table, campaign: Campaign) -> str:
    account = table.accounts.get(campaign.account_id)
    return account.currency if account is not None else "USD"
