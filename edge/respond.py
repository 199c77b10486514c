"""Answers of everything but links, as Starlette responses in the envelope of shape A. Links: edge.answers."""

from typing import Any

import orjson
from starlette.responses import Response

from edge.errors import RETRY_AFTER, EdgeError


def success(data: dict[str, Any]) -> Response:
    """200 in the envelope of shape A."""
    return _json(200, {"success": True, "data": data})


def plain(text: str, *, cached: bool = False) -> Response:
    """200 with `text`; `cached` for what a browser may keep for a day."""
    headers = {"cache-control": "public, max-age=86400" if cached else "no-store", "x-content-type-options": "nosniff"}
    return Response(text, media_type="text/plain", headers=headers)


def empty(status: int, *, allow: str | None = None) -> Response:
    headers = {"cache-control": "no-store"} | ({"allow": allow} if allow else {})
    return Response(status_code=status, headers=headers)


def failure(error: EdgeError, *, details: dict[str, list[str]] | None = None, allow: str | None = None) -> Response:
    """The error envelope of shape A; `details` by field, `reason` for a numbered reason."""
    body = {
        "success": False,
        "error": {"code": error.code, "message": error.message, "details": details or {}},
    }
    response = _json(error.status, body)
    if error.retry:
        response.headers["retry-after"] = RETRY_AFTER
    if allow:
        response.headers["allow"] = allow
    return response


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(
        orjson.dumps(body),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", "x-content-type-options": "nosniff"},
    )
