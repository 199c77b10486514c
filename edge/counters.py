"""What an edge worker counts: plain integers under a closed list of names. Rendered by edge.metrics."""

from typing import Final

from shared.postback import REASONS
from shared.traffic import CLASS_NAMES, MODE_NAMES, OUTCOME_NAMES

COUNTERS: Final[dict[str, str]] = {
    "clicks": "Clicks recorded, by mode, class and outcome",
    "unknown_links": "Requests for a link that does not exist or no longer does",
    "unknown_hosts": "Requests for a host that is none of this installation's",
    "postbacks": "Postback calls recorded, by reason",
    "postbacks_uncounted": "Postback calls that prove no campaign, by reason; they are only counted",
    "refused_methods": "Requests with a verb that the path does not take",
    "not_ready": "Requests refused because there is no routing table yet",
    "journal_refused": "Requests refused because the journal failed",
    "errors": "Requests that ran into an error of the program; always 0 in a healthy edge",
    "table_loads": "Routing tables taken into use",
    "redis_errors": "Failed reads of the routing table",
}
"""Name → meaning. The names are a contract with dashboards and alerts."""


class Counters:
    """The counts of one worker's life."""

    __slots__ = ("clicks", "plain", "postbacks", "uncounted")

    def __init__(self) -> None:
        self.clicks: dict[tuple[int, int, int], int] = {}
        self.postbacks: dict[int, int] = {}
        self.uncounted: dict[str, int] = {}
        self.plain = dict.fromkeys(
            (name for name in COUNTERS if name not in ("clicks", "postbacks", "postbacks_uncounted")), 0
        )

    def click(self, mode: int, traffic_class: int, outcome: int) -> None:
        key = (mode, traffic_class, outcome)
        self.clicks[key] = self.clicks.get(key, 0) + 1

    def postback(self, reason: int) -> None:
        self.postbacks[reason] = self.postbacks.get(reason, 0) + 1

    def uncounted_postback(self, reason: str) -> None:
        """`reason` comes from a fixed list, never from the request: each makes a time series."""
        self.uncounted[reason] = self.uncounted.get(reason, 0) + 1

    def add(self, name: str) -> None:
        self.plain[name] += 1

    def snapshot(self) -> dict[str, int]:
        """Every count under `name` or `name|label|label…`."""
        counts = dict(self.plain)
        for (mode, traffic_class, outcome), count in self.clicks.items():
            counts[f"clicks|{MODE_NAMES[mode]}|{CLASS_NAMES[traffic_class]}|{OUTCOME_NAMES[outcome]}"] = count
        for number, count in self.postbacks.items():
            counts[f"postbacks|{REASONS[number][0]}"] = count
        for reason, count in self.uncounted.items():
            counts[f"postbacks_uncounted|{reason}"] = count
        return counts
