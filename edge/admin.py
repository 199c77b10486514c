"""The admin port, on loopback only: is the edge alive, does it take clicks, what has it counted."""

import time
from typing import Any, Protocol

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.metrics import EdgeMetrics, render


class Workers(Protocol):
    """What the admin port asks the supervisor for."""

    def reports(self) -> dict[int, dict[str, Any]]: ...
    def metrics(self) -> EdgeMetrics: ...


def admin_app(workers: Workers) -> Starlette:
    """`/healthz`: some worker runs, with what each knows. `/readyz`: some worker takes clicks. `/metrics`."""

    async def healthz(_: Request) -> Response:
        reports = workers.reports()
        status = _state(reports)
        body = {"status": status, "workers": {str(index): _shown(report) for index, report in reports.items()}}
        body["ip_data"] = next((report["ip_data"] for report in reports.values()), "Not configured")
        return _json(200 if reports else 503, body)

    async def readyz(_: Request) -> Response:
        ready = sorted(index for index, report in workers.reports().items() if report["ready"])
        return _json(200 if ready else 503, {"ready": bool(ready), "workers": ready})

    async def metrics(_: Request) -> Response:
        return Response(render(workers.metrics()), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
    )


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    confirmed_at = report["confirmed_at"]
    return {
        "pid": report["pid"],
        "stream": report["stream"],
        "ready": report["ready"],
        "table_version": report["version"],
        "table_generation": report["generation"],
        "table_age_seconds": None if confirmed_at is None else round(max(0.0, time.time() - confirmed_at), 1),
        "campaigns": report["campaigns"],
        "last_sync": round(report["synced_at"], 3),
        "journal_full": report["journal_full"],
        "declared_losses": report["declared_losses"],
        "ip_data": report["ip_data"],
    }


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, {"cache-control": "no-store"}, "application/json")


def _state(reports: dict[int, dict[str, Any]]) -> str:
    if not reports:
        return "Outage"
    return "Degraded" if any(report["journal_full"] for report in reports.values()) else "Operational"
