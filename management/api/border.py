"""What every request passes before any route: its id, the Host it asks for, its transport, and the last guard.

Promises X4 (transport, DNS rebinding) and X13 of the security contract.
"""

import re
import secrets
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from management.api import envelope
from management.api.client_address import Proxies
from management.db.pool import UNREACHABLE
from management.errors import HTTPS_REQUIRED, INTERNAL, MISDIRECTED, UNAVAILABLE, VALIDATION, Refusal
from shared.env import LOOPBACK_NAMES, Settings

TOKEN_PATH: Final = "/api/v1/auth/token"
HEALTH_PATHS: Final = frozenset(("/healthz", "/readyz", "/metrics"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK = frozenset(name.strip("[]") for name in LOOPBACK_NAMES)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_FIXED_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
}
_HSTS = "max-age=31536000"

log = structlog.get_logger()


class BorderGuard:
    """The outermost ASGI layer; whatever happens inside, the caller gets one answer in the envelope."""

    def __init__(self, app: ASGIApp, settings: Settings, seen: Callable[[str, int], None]) -> None:
        self._app = app
        self._proxies = Proxies(settings.trusted_proxies)
        self._hosts = frozenset(settings.api_hosts)
        self._allow_http = settings.allow_http
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        peer = (scope.get("client") or ("",))[0]
        scheme = self._proxies.scheme(peer, scope["scheme"], headers.getlist("x-forwarded-proto"))
        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                for name, value in _FIXED_HEADERS.items():
                    out.setdefault(name, value)
                if scheme == "https":
                    out["Strict-Transport-Security"] = _HSTS
                self._seen(scope["method"], message["status"])
            await send(message)

        try:
            self._admit(scope, headers, peer, scheme)
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if answered:
                log.exception("answer_broke_off", request_id=request_id, path=scope["path"])
                raise
            await envelope.failure(_refusal(error, request_id, scope["path"]))(scope, receive, send_with_headers)

    def _admit(self, scope: Scope, headers: Headers, peer: str, scheme: str) -> None:
        name = host_name(headers)
        known = name in self._hosts or (name in _LOOPBACK and scope["path"] in HEALTH_PATHS)
        if not known:
            raise Refusal(MISDIRECTED)
        if scheme == "https" or self._allow_http:
            return
        carries_credential = "authorization" in headers or scope["path"] == TOKEN_PATH
        caller = self._proxies.caller(peer, headers.getlist("x-forwarded-for"))
        local = caller is not None and caller.is_loopback and name in _LOOPBACK
        if carries_credential and not local:
            raise Refusal(HTTPS_REQUIRED)


def host_name(headers: Headers) -> str:
    """The Host without its port, lower case; raises Refusal for none or several."""
    given = headers.getlist("host")
    match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise Refusal(VALIDATION, "The Host header must name one host")
    return match[1].strip("[]").lower()


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


def _refusal(error: Exception, request_id: str, path: str) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UNREACHABLE):
        log.warning("postgres_unreachable", request_id=request_id, path=path, error=str(error) or type(error).__name__)
        return Refusal(UNAVAILABLE)
    log.error("request_failed", request_id=request_id, path=path, exc_info=error)
    return Refusal(INTERNAL)
