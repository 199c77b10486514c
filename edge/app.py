"""The edge as one ASGI application: tracking links on a bare callable for speed, everything else through Starlette.

No request leaves here with an exception: the last guard logs it and answers 503, never 500.
"""

from collections.abc import Callable
from contextlib import suppress

import structlog
from starlette.requests import Request
from starlette.responses import Response

from edge import errors, respond
from edge.counters import Counters
from edge.handlers import ClickHandler
from edge.hosts import Hosts
from edge.postback_handler import PostbackHandler
from edge.respond import Receive, Scope, Send

log = structlog.get_logger("edge.app")

LINK_PREFIX = "/c/"
POSTBACK_PATH = "/api/v1/postback"

_ROBOTS = "User-agent: *\nDisallow: /\n"
_ROOT = "milepost\n"

Page = Callable[[], Response]

PAGES: dict[str, Page] = {
    "/": lambda: respond.plain(_ROOT),
    "/robots.txt": lambda: respond.plain(_ROBOTS, cached=True),
    "/favicon.ico": lambda: respond.empty(204),
}


class EdgeApp:
    """`links` answers below /c/, `postbacks` the one path of advertisers; hosts that are not ours get 404."""

    def __init__(self, links: ClickHandler, postbacks: PostbackHandler, hosts: Hosts, counters: Counters) -> None:
        self._links = links
        self._postbacks = postbacks
        self._answers = hosts.answers
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            headers = dict(scope["headers"])
            if not self._answers(headers.get(b"host", b"")):
                self._counters.add("unknown_hosts")
                await respond.NOT_FOUND.send(send)
            elif scope["path"].startswith(LINK_PREFIX):
                await self._links.handle(scope, headers, send)
            else:
                response = await self._page(Request(scope, receive), headers)
                await response(scope, receive, send)
        except Exception:
            self._counters.add("errors")
            # The server refuses a second beginning: then the first one stands, and it closes the connection.
            with suppress(RuntimeError):
                await respond.UNAVAILABLE.send(send)
            with suppress(OSError):
                log.exception("request failed", method=scope["method"], path=scope["path"][:200])

    async def _page(self, request: Request, headers: dict[bytes, bytes]) -> Response:
        path = request.scope["path"]
        if path == POSTBACK_PATH:
            return await self._postbacks.handle(request, headers)
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
