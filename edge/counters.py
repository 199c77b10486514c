"""What an edge worker counts: plain integers under a closed list of names. Rendered by edge.metrics."""

from typing import Final

from shared.postback import REASONS
from shared.traffic import CLASS_NAMES, MODE_NAMES, OUTCOME_NAMES

COUNTERS: Final[dict[str, str]] = {
    "clicks": "Clicks recorded, by mode, class and outcome",
    "unknown_links": "Requests for a link that does not exist or no longer does",
    "unknown_hosts": "Requests for a host that is none of this installation's",
    "postbacks": "Postback calls recorded, by reason",
    "postbacks_uncounted": "Postback calls that are stored under no campaign, by reason",
    "strangers_kept": "Unknown links and unproven postbacks that were recorded, by reason",
    "strangers_over_budget": "Unknown links, unproven and refused postbacks beyond the budget, by reason; only counted",
    "strangers_unrecorded": "Unknown links, unproven and refused postbacks that the journal did not take, by reason",
    "refused_methods": "Requests with a verb that the path does not take",
    "not_ready": "Requests refused because there is no routing table yet",
    "journal_refused": "Requests refused because the journal failed",
    "refused_for_space": "Clicks (MILEPOST_ON_DISK_FULL=refuse) and postbacks refused because the journal is full",
    "refused_requests": "Requests that break a rule of HTTP or a limit on their size",
    "refused_connections": "Connections refused because their address holds too many",
    "overdue_connections": "Connections closed because a request on them did not come to its end in time",
    "errors": "Requests that ran into an error of the program; always 0 in a healthy edge",
    "table_loads": "Routing tables read whole and taken into use",
    "table_deltas": "Changes of the routing table taken into use without reading the rest",
    "table_delta_rows": "Rows read for these changes",
    "redis_errors": "Failed reads of the routing table",
}
"""Name → meaning. The names are a contract with dashboards and alerts."""

BY_REASON: Final = ("postbacks_uncounted", "strangers_kept", "strangers_over_budget", "strangers_unrecorded")
_LABELLED: Final = frozenset(("clicks", "postbacks", *BY_REASON))


class Counters:
    """The counts of one worker's life."""

    __slots__ = ("by_reason", "clicks", "plain", "postbacks")

    def __init__(self) -> None:
        self.clicks: dict[tuple[int, int, int], int] = {}
        self.postbacks: dict[int, int] = {}
        self.by_reason: dict[str, dict[str, int]] = {name: {} for name in BY_REASON}
        self.plain = dict.fromkeys((name for name in COUNTERS if name not in _LABELLED), 0)

    def click(self, labels: tuple[int, int, int]) -> None:
        """`labels` are mode, class and outcome."""
        self.clicks[labels] = self.clicks.get(labels, 0) + 1

    def postback(self, reason: int) -> None:
        self.postbacks[reason] = self.postbacks.get(reason, 0) + 1

    def add_reason(self, name: str, reason: str) -> None:
        """`name` of BY_REASON; `reason` comes from a fixed list, never from the request: each makes a time series."""
        counts = self.by_reason[name]
        counts[reason] = counts.get(reason, 0) + 1

    def add(self, name: str, count: int = 1) -> None:
        self.plain[name] += count

    def snapshot(self) -> dict[str, int]:
        """Every count under `name` or `name|label|label…`."""
        counts = dict(self.plain)
        for (mode, traffic_class, outcome), count in self.clicks.items():
            counts[f"clicks|{MODE_NAMES[mode]}|{CLASS_NAMES[traffic_class]}|{OUTCOME_NAMES[outcome]}"] = count
        for number, count in self.postbacks.items():
            counts[f"postbacks|{REASONS[number][0]}"] = count
        for name, reasons in self.by_reason.items():
            for reason, count in reasons.items():
                counts[f"{name}|{reason}"] = count
        return counts
