"""`/healthz`, `/readyz`, `/metrics` of the API's process; the last two for the operator alone (security X13)."""

import asyncio
import hmac
import math
from collections.abc import Mapping

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from management.api import envelope
from management.api.services import Services
from management.db.health import answers
from management.errors import AUTHORIZATION, UNAVAILABLE, Refusal
from management.publisher import RoutingUnavailable, published_version
from management.system import repository
from management.system.repository import Difference

_READY_SECONDS = 2.0
_BOOKS_SECONDS = 2.0


class Metrics:
    """What this process counts; the names are listed here and nowhere else."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "milepost_api_answers", "Answers by method and status", ("method", "status"), registry=self.registry
        )

        self._books = {
            name: Gauge(f"milepost_books_{name}", text, registry=self.registry)
            for name, text in (
                ("difference", "Records of all streams that stand in no column of the books"),
                ("missing_rows", "Rows that the tables and the books do not agree on, when last counted"),
                ("lost_records", "Records that could be read nowhere"),
            )
        }

    def booked(self, found: Difference | None) -> None:
        """Shows what the books say; NaN where nobody could ask them."""
        for gauge, number in zip(self._books.values(), found or (math.nan,) * 3, strict=True):
            gauge.set(number)

    def answered(self, method: str, status: int) -> None:
        known = method if method in _METHODS else "other"
        self._answers.labels(known, str(status)).inc()


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


async def alive(request: Request) -> Response:
    return envelope.answer({"status": "ok"})


async def ready(request: Request) -> Response:
    """200 when Postgres answers; Redis away is told, but does not keep the API from serving."""
    services = _for_operator(request)
    postgres, redis = await asyncio.gather(_postgres(services), _redis(services))
    if not postgres:
        raise Refusal(UNAVAILABLE, "Postgres does not answer", _named(postgres=postgres, redis=redis))
    return envelope.answer({"status": "ready", "postgres": postgres, "redis": redis})


async def metrics(request: Request) -> Response:
    services = _for_operator(request)
    request.app.state.metrics.booked(await repository.difference(services.pool, _BOOKS_SECONDS))
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _for_operator(request: Request) -> Services:
    """The services, for loopback or the metrics token."""
    services: Services = request.app.state.services
    peer = request.client.host if request.client else ""
    caller = services.proxies.caller(peer, request.headers.getlist("x-forwarded-for"))
    token = services.settings.metrics_token
    given = request.headers.get("authorization", "").partition(" ")[2].strip()
    if token is not None and hmac.compare_digest(given.encode(), token.encode()):
        return services
    if caller is None or not caller.is_loopback:
        raise Refusal(AUTHORIZATION, "Only from this machine, or with the metrics token")
    return services


async def _postgres(services: Services) -> bool:
    return await answers(services.pool, _READY_SECONDS)


async def _redis(services: Services) -> bool:
    try:
        await published_version(services.redis)
    except RoutingUnavailable:
        return False
    return True


def _named(**answering: bool) -> Mapping[str, list[str]]:
    return {name: ["answers" if fine else "does not answer"] for name, fine in answering.items()}
