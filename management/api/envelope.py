"""The one shape of every answer (api.md section 2), written as JSON bytes with exact decimals."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import Response

from management.errors import Refusal
from shared import money


def figure(value: Decimal | None) -> orjson.Fragment | None:
    """A computed figure as a JSON number of 2 to 4 decimals; None where the denominator was 0."""
    return None if value is None else orjson.Fragment(money.figure(value))


def amount(value: Decimal | None) -> orjson.Fragment | None:
    """A stored amount as a JSON number, as it was written."""
    return None if value is None else orjson.Fragment(money.amount(value))


def encoded(content: object) -> bytes:
    """JSON bytes; figures and amounts stand in `content` as fragments, since a float would lose digits."""
    return orjson.dumps(content)


def answer(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded(content), status, headers=headers, media_type="application/json")


def success(data: object, *, status: int = 200, meta: Mapping[str, Any] | None = None) -> Response:
    content: dict[str, Any] = {"success": True, "data": data}
    if meta:
        content["meta"] = meta
    return answer(content, status)


def failure(refusal: Refusal) -> Response:
    """The error envelope; `details` is empty where there is nothing to name."""
    error = {"code": refusal.kind.code, "message": refusal.message, "details": refusal.details}
    headers = dict(refusal.headers)
    if refusal.kind.retry_after is not None:
        headers.setdefault("Retry-After", str(refusal.kind.retry_after))
    if refusal.kind.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return answer({"success": False, "error": error}, refusal.kind.status, headers)
