"""The edge's metrics in the Prometheus text format: what its workers reported last, and what dead ones had counted."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.counters import BY_REASON, COUNTERS

PREFIX: Final = "milepost_edge_"
_LABELS: Final[dict[str, list[str]]] = {
    "clicks": ["mode", "class", "outcome"],
    "postbacks": ["reason"],
    **{name: ["reason"] for name in BY_REASON},
}
_GAUGES: Final = {
    "workers": "Workers that are running",
    "workers_ready": "Workers that have a routing table and take clicks",
    "worker_restarts": "Workers started again after their end",
    "table_version": "Version of the routing table in use, by worker",
    "table_age_seconds": "Time since Redis last confirmed the routing table in use, by worker",
    "table_generation": "1 for the generation of the routing table in use, by worker; another one is read whole",
    "campaigns": "Campaigns in the routing table, by worker",
    "unreadable_rows": "Rows of the routing table that could not be read, by worker",
    "journal_synced_seq": "Last record of the stream that is durable, by worker",
    "journal_sync_age_seconds": "Time since a record last became durable, by worker",
    "journal_full": "1 while the journal stands at its limit and clicks are declared lost or refused, by worker",
    "declared_losses": "Clicks answered and not recorded, as declared by all streams on this disk, dead workers' too",
    "journal_abandoned_segments": "Failed writes and syncs that were answered by a new segment, by worker",
    "ip_file_age_seconds": "Age of a file of IP data, by file",
}

Report = Mapping[str, Any]


class EdgeMetrics(Collector):
    """All metrics of one edge. `reports` are the live workers' last ones by index; `counts` the sums over all
    workers, dead ones included."""

    def __init__(
        self,
        reports: Mapping[int, Report],
        counts: Mapping[str, int],
        running: int,
        restarts: int,
        declared_losses: int,
    ) -> None:
        self._reports = reports
        self._counts = counts
        self._running = running
        self._restarts = restarts
        self._declared_losses = declared_losses

    def collect(self) -> Iterator[Metric]:
        yield from self._counters()
        now = time.time()
        yield _gauge("workers", self._running)
        yield _gauge("workers_ready", sum(1 for report in self._reports.values() if report["ready"]))
        yield _gauge("declared_losses", self._declared_losses)
        yield CounterMetricFamily(PREFIX + "worker_restarts", _GAUGES["worker_restarts"], value=self._restarts)
        for name, read in (
            ("table_version", lambda report: report["version"]),
            ("table_age_seconds", lambda report: _age(report["confirmed_at"], now)),
            ("campaigns", lambda report: report["campaigns"]),
            ("unreadable_rows", lambda report: report["unreadable_rows"]),
            ("journal_synced_seq", lambda report: report["synced_seq"]),
            ("journal_full", lambda report: int(report["journal_full"])),
            ("journal_abandoned_segments", lambda report: report["abandoned_segments"]),
            ("journal_sync_age_seconds", lambda report: _age(report["synced_at"], now)),
        ):
            family = GaugeMetricFamily(PREFIX + name, _GAUGES[name], labels=["worker"])
            for index, report in sorted(self._reports.items()):
                value = read(report)
                if value is not None:
                    family.add_metric([str(index)], value)
            yield family
        yield self._generations()
        yield self._ip_files(now)

    def _counters(self) -> Iterable[Metric]:
        families = {
            name: CounterMetricFamily(PREFIX + name, meaning, labels=_LABELS.get(name, []))
            for name, meaning in COUNTERS.items()
        }
        for key, count in sorted(self._counts.items()):
            name, *labels = key.split("|")
            if name in families:
                families[name].add_metric(labels, count)
        return families.values()

    def _generations(self) -> Metric:
        name = "table_generation"
        family = GaugeMetricFamily(PREFIX + name, _GAUGES[name], labels=["worker", "generation"])
        for index, report in sorted(self._reports.items()):
            if report["generation"]:
                family.add_metric([str(index), report["generation"]], 1)
        return family

    def _ip_files(self, now: float) -> Metric:
        family = GaugeMetricFamily(PREFIX + "ip_file_age_seconds", _GAUGES["ip_file_age_seconds"], labels=["file"])
        for name, file in next(iter(self._reports.values()), {"ip_files": {}})["ip_files"].items():
            if file["as_of"]:
                family.add_metric([name], max(0.0, now - file["as_of"]))
        return family


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, _GAUGES[name], value=value)


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else max(0.0, now - since)


def render(metrics: EdgeMetrics) -> bytes:
    """The text that `/metrics` answers."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry)
