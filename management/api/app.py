"""The process `milepost api`: the application over its services, served by uvicorn until SIGTERM."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from management.api import envelope, openapi
from management.api.border import BorderGuard
from management.api.client_address import Proxies
from management.api.health import Metrics
from management.api.pages import Cursors
from management.api.passwords import Passwords
from management.api.protocol import EnvelopeProtocol
from management.api.routes import PLAIN_ROUTES, ROUTES
from management.api.services import Services
from management.api.tokens import Tokens
from management.db.keyring import load_key_ring
from management.db.pool import APP_ROLE, open_pool, role_url
from management.errors import METHOD_NOT_ALLOWED, NOT_FOUND, VALIDATION, Refusal
from management.publisher import open_redis
from shared.env import Settings
from shared.ids import ClickIds, KeyRing

_DRAIN_SECONDS = 10
_IDLE_SECONDS = 30
_KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

log = structlog.get_logger()


def create_app(settings: Settings, ring: KeyRing) -> FastAPI:
    """The application; it opens its connections when it starts and needs none of them to be there."""
    app = FastAPI(
        title="milepost",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_services(settings, ring),
    )
    app.state.metrics = Metrics()
    for route in ROUTES:
        app.add_api_route(route.path, route.handler, methods=[route.method], include_in_schema=False)
    for path, handler, _ in PLAIN_ROUTES:
        app.add_api_route(path, handler, methods=["GET"], include_in_schema=False)
    document = openapi.document(ROUTES, PLAIN_ROUTES)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_middleware(BorderGuard, settings=settings, seen=app.state.metrics.answered)
    return app


async def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0 after an orderly end, 1 when the port cannot be had."""
    ring = load_key_ring(settings, create=False)
    try:
        listener = _listener(settings.api_host, settings.api_port)
    except OSError as error:
        sentence = f"milepost: the API cannot listen on {settings.api_host} port {settings.api_port}: {error.strerror}"
        sys.stderr.write(sentence + "\n")
        return 1
    await Server(server_config(create_app(settings, ring))).serve(sockets=[listener])
    return 0


class Server(uvicorn.Server):
    """uvicorn's server, ending with status 0 on SIGTERM: as shipped it raises the signal again when it is done."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def server_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn serves it: our envelope for what is no HTTP, nothing of proxies believed there, no access log."""
    return uvicorn.Config(
        app,
        http=EnvelopeProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _listener(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _services(settings: Settings, ring: KeyRing) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assert settings.database_url is not None, "the command line demands both URLs"
        assert settings.redis_url is not None
        pool = await open_pool(role_url(settings.database_url, APP_ROLE, ring), application="milepost api")
        redis = open_redis(settings.redis_url)
        passwords = Passwords()
        app.state.services = Services(
            settings=settings,
            pool=pool,
            redis=redis,
            click_ids=ClickIds(ring),
            tokens=Tokens(ring),
            cursors=Cursors(ring),
            passwords=passwords,
            proxies=Proxies(settings.trusted_proxies),
        )
        yield
        passwords.close()
        await redis.aclose()
        pool.terminate()

    return lifespan


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return envelope.failure(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    """What the router says itself: no such address, or one that does not know the method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = [method for method in _KNOWN_METHODS if _serves(request, method)]
        return envelope.failure(Refusal(METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(allowed)}))
    return envelope.failure(Refusal(NOT_FOUND if error.status_code == 404 else VALIDATION))


def _serves(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)
