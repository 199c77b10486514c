"""Answers, built beforehand where they never differ: ASGI messages for links, Starlette responses for the rest."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson
from starlette.responses import Response

from edge.errors import RETRY_AFTER, EdgeError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

LINK_METHODS: Final = b"GET, HEAD, OPTIONS"

_NO_STORE = (b"cache-control", b"no-store")
_EMPTY = (b"content-length", b"0")
_EMPTY_BODY: Final[Message] = {"type": "http.response.body", "body": b""}


class PlainAnswer:
    """A complete answer that never differs, as its two ASGI messages. A HEAD gets the same; the server sends no body
    for it."""

    __slots__ = ("_body", "_start", "status")

    def __init__(self, status: int, text: str, *extra: tuple[bytes, bytes]) -> None:
        body = text.encode()
        headers: Headers = [_NO_STORE, (b"content-length", str(len(body)).encode()), *extra]
        if body:
            headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
        self.status = status
        self._start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        self._body: Message = {"type": "http.response.body", "body": body}

    async def send(self, send: Send) -> None:
        await send(self._start)
        await send(self._body)


_RETRY = (b"retry-after", RETRY_AFTER.encode())
_ALLOW = (b"allow", LINK_METHODS)

NOT_FOUND: Final = PlainAnswer(404, "Not found\n")
GONE: Final = PlainAnswer(410, "Gone\n")
LINK_OPTIONS: Final = PlainAnswer(204, "", _ALLOW)
LINK_METHOD: Final = PlainAnswer(405, "Method not allowed\n", _ALLOW)
PREFETCHED: Final = PlainAnswer(503, "")
UNAVAILABLE: Final = PlainAnswer(503, "Service unavailable\n", _RETRY)

WITHOUT_TARGET: Final = {404: NOT_FOUND, 410: GONE}
"""Answers to a recorded click that is sent nowhere, by status."""


async def redirect(send: Send, location: bytes) -> None:
    """302 to `location`, which is ASCII without control characters (shared.macros sees to it)."""
    headers = [(b"location", location), _NO_STORE, _EMPTY]
    await send({"type": "http.response.start", "status": 302, "headers": headers})
    await send(_EMPTY_BODY)


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
