"""A conversion reported on the API's port: judged by the rules of the edge, settled by the rules of fold.

The call is stored as a fact with its delta, in one transaction, and fold counts it like any other. What the answer
says is computed from the same set of calls by the same function, so it never waits for fold.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from management.api.auth import Tenant
from management.conversions import repository
from management.conversions.repository import API_STREAM, ConvertingCampaign, NewCall
from management.conversions.schemas import ConversionCreate
from management.db.pool import Writing
from management.errors import (
    CLICK_EXPIRED,
    CONFLICT,
    UNAVAILABLE,
    VALIDATION,
    Refusal,
    because,
    not_found,
)
from management.fold.conversion_state import Call, Conversion, settle
from shared import postback
from shared.ids import ClickId, ClickIds, FutureKey, InvalidClickId, conversion_id
from shared.postback import REASONS, PostbackCall, RefusedPostback

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reported:
    """The conversion as a row of `conversions_current`; `duplicate`: the key was there and nothing changed."""

    row: dict[str, Any]
    duplicate: bool


async def report(
    tenant: Tenant[Writing], click_ids: ClickIds, wanted: ConversionCreate, *, now: datetime, source_ip: str
) -> Reported:
    """Store one call. Raises Refusal: 400 with a reason, 404 for a click of another account, 409 for a status the
    conversion's state does not allow (then nothing is stored), 410 beyond the attribution window."""
    now = _whole_ms(now)
    asked = _read(wanted, now)
    click = _proven(click_ids, asked.click_id)
    campaign = await repository.campaign_of_click(tenant.connection, tenant.account.id, click.campaign_id)
    if campaign is None:
        raise not_found("Click")
    clicked_at = _EPOCH + timedelta(milliseconds=click.time_ms)
    if now - clicked_at > campaign.attribution_window_hours * _HOUR:
        raise because(CLICK_EXPIRED, REASONS[postback.CLICK_EXPIRED][0])

    key = _key(tenant.account.id, campaign, click, asked, call_id := uuid.uuid4())
    calls = await repository.lock_calls(tenant.connection, tenant.account.id, key)
    now = _behind(calls, now)
    call = Call(
        id=call_id.bytes,
        happened_at=now,
        arrived_at=now,
        stream=API_STREAM,
        seq=await repository.next_seq(tenant.connection),
        status=asked.status,
        payout=asked.payout,
        default_payout=campaign.default_payout,
        currency=asked.currency or tenant.account.currency,
        trusted=True,
        duplicate_mode=campaign.duplicate_mode,
        cost_model=campaign.cost_model,
        cost_value=campaign.cost_value,
        origin="api",
    )
    before, settled = settle(calls).conversion, settle([*calls, call])
    if settled.conversion is None or settled.reasons[call.id] == postback.TRANSITION:
        raise because(CONFLICT, *_worded(postback.TRANSITION))
    duplicate = before is not None and _says(before) == _says(settled.conversion)
    await repository.store(
        tenant.connection,
        NewCall(
            account_id=tenant.account.id,
            campaign=campaign,
            click_id=click.raw,
            conversion_id=key,
            event=asked.event,
            transaction_id=asked.transaction_id,
            call=call,
            reason=postback.DELETED_CAMPAIGN if campaign.deleted else postback.ACCEPTED,
            http_status=200 if duplicate else 201,
            source_ip=source_ip,
        ),
    )
    number = await repository.number(tenant.connection, tenant.account.id, key)
    return Reported(_row(key, number, click, clicked_at, asked, settled.conversion), duplicate)


def _behind(calls: Iterable[Call], now: datetime) -> datetime:
    """`now`, or a millisecond after the last call of this key that came by an API: their order is that of the lock,
    whatever the clocks of two API hosts say and however short after each other they come."""
    last = max((call.arrived_at for call in calls if call.stream == API_STREAM), default=_EPOCH)
    return max(now, last + timedelta(milliseconds=1))


def _says(conversion: Conversion) -> tuple[str, Decimal, str]:
    return conversion.status, conversion.payout, conversion.currency


def _read(wanted: ConversionCreate, now: datetime) -> PostbackCall:
    fields = {
        "click_id": wanted.click_id,
        "payout": "" if wanted.payout is None else f"{wanted.payout:f}",
        "transaction_id": wanted.transaction_id or "",
        "status": wanted.status,
        "event": wanted.event or "",
        "currency": wanted.currency or "",
    }
    try:
        return postback.read(fields, int(now.timestamp() * 1000))
    except RefusedPostback as refusal:
        raise because(VALIDATION, *_worded(refusal.reason)) from None


def _worded(reason: int) -> tuple[str, str]:
    code, sentence = REASONS[reason]
    return code, sentence[:1].upper() + sentence[1:]


def _proven(click_ids: ClickIds, text: str) -> ClickId:
    try:
        return click_ids.prove(text)
    except FutureKey:
        raise Refusal(UNAVAILABLE, "The click id names a key that is not here yet") from None
    except InvalidClickId:
        raise because(VALIDATION, *_worded(postback.INVALID_CLICK_ID)) from None


def _key(
    account_id: int, campaign: ConvertingCampaign, click: ClickId, asked: PostbackCall, call_id: uuid.UUID
) -> bytes:
    repeat = call_id.hex if campaign.duplicate_mode == "new" and not asked.transaction_id else ""
    text = conversion_id(account_id, click.raw, asked.event, asked.transaction_id, repeat=repeat)
    return bytes.fromhex(text.removeprefix("conv_"))


def _row(
    key: bytes, number: int | None, click: ClickId, clicked_at: datetime, asked: PostbackCall, made: Conversion
) -> dict[str, Any]:
    return {
        "id": key,
        "number": number,
        "campaign_id": click.campaign_id,
        "click_id": click.raw,
        "event": asked.event,
        "transaction_id": asked.transaction_id,
        "status": made.status,
        "original_status": made.original_status,
        "payout": made.payout,
        "currency": made.currency,
        "click_at": clicked_at,
        "converted_at": made.converted_at,
        "created_at": made.created_at,
        "origin": made.origin,
    }


def _whole_ms(now: datetime) -> datetime:
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
