"""Everything that is no link, as one ASGI application on Starlette's requests and responses.

No request leaves here with an exception: the last guard logs it and answers 503, never 500.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from edge import errors, respond
from edge.counters import Counters
from edge.postback_handler import PostbackHandler
from edge.postbacks import POSTBACK_PATH

log = structlog.get_logger("edge.app")

_ROBOTS = "User-agent: *\nDisallow: /\n"
_ROOT = "milepost\n"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Page = Callable[[], Response]

PAGES: dict[str, Page] = {
    "/": lambda: respond.plain(_ROOT),
    "/robots.txt": lambda: respond.plain(_ROBOTS, cached=True),
    "/favicon.ico": lambda: respond.empty(204),
}


class EdgeApp:
    """`postbacks` answers the one path of advertisers. Hosts that are not ours never come here (edge.protocol)."""

    def __init__(self, postbacks: PostbackHandler, counters: Counters) -> None:
        self._postbacks = postbacks
        self._counters = counters

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, send)
        except Exception:
            self._counters.add("errors")
            # The server refuses a second beginning: then the first one stands, and it closes the connection.
            with suppress(RuntimeError):
                await respond.failure(errors.UNAVAILABLE)(scope, receive, send)
            with suppress(OSError):
                log.exception("request failed", method=scope["method"], path=scope["path"][:200])

    async def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if path == POSTBACK_PATH:
            return await self._postbacks.handle(request, dict(request.scope["headers"]))
        page = PAGES.get(path)
        if page is None:
            return respond.failure(errors.NOT_FOUND) if path.startswith("/api/") else _not_found()
        if request.method not in ("GET", "HEAD"):
            self._counters.add("refused_methods")
            return respond.empty(204 if request.method == "OPTIONS" else 405, allow="GET, HEAD, OPTIONS")
        return page()


def _not_found() -> Response:
    response = respond.plain("Not found\n")
    response.status_code = 404
    return response
