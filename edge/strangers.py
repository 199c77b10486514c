"""Requests that belong to nobody here, unknown links and postbacks that prove no campaign: kept within a budget,
beyond it only counted. Nothing waits for them; their answers are the same either way.
"""

import uuid
from collections.abc import Iterable
from functools import partial
from typing import Final

from edge.budget import StrangerBudget
from edge.client_ip import ClientAddress, IpStorage, stored_ip
from edge.counters import Counters
from edge.parse import referrer as page_of
from edge.parse import text_of
from edge.postbacks import POSTBACK_PATH, Pair, form_pairs, masked_query
from shared import events
from shared.events import STRANGER_REASONS
from shared.journal import JournalWriter, NotJournaled

MAX_KEPT: Final = 512
"""Bytes that are kept of each text: a hundred such events a second are to stay small beside the clicks."""


class Strangers:
    """Records what strangers send, without ever making anybody wait."""

    def __init__(
        self, journal: JournalWriter, budget: StrangerBudget, ip_storage: IpStorage, counters: Counters
    ) -> None:
        self._take = journal.take
        self._budget = budget
        self._ip_storage: IpStorage = ip_storage
        self._counters = counters

    def unknown_link(
        self,
        now_ms: int,
        now: float,
        method: str,
        path: str,
        query: bytes,
        address: ClientAddress,
        user_agent: bytes,
        referrer: bytes,
    ) -> None:
        """A request for a link that is none. `now_ms` since 1970, `now` in monotonic seconds; query and headers as
        sent."""
        if self.may_keep(STRANGER_REASONS[events.UNKNOWN_LINK], address, now):
            pairs = form_pairs(query)
            self._keep(now_ms, events.UNKNOWN_LINK, method, path, pairs, address, user_agent, referrer)

    def unproven_postback(
        self,
        now_ms: int,
        now: float,
        method: str,
        reason: int,
        pairs: Iterable[Pair],
        address: ClientAddress,
        user_agent: bytes,
        referrer: bytes,
    ) -> None:
        """A call whose click id proves nothing: `reason` is a number of shared.events.STRANGER_REASONS, `pairs` are
        its parameters, query first."""
        if self.may_keep(STRANGER_REASONS[reason], address, now):
            self._keep(now_ms, reason, method, POSTBACK_PATH, pairs, address, user_agent, referrer)

    def may_keep(self, reason: str, address: ClientAddress, now: float) -> bool:
        """Whether the budget has room for one more; if not, the request is counted by its reason."""
        if self._budget.take(address, now):
            return True
        self._counters.add_reason("strangers_over_budget", reason)
        return False

    def _keep(
        self,
        now_ms: int,
        reason: int,
        method: str,
        path: str,
        pairs: Iterable[Pair],
        address: ClientAddress,
        user_agent: bytes,
        referrer: bytes,
    ) -> None:
        event: events.Event = {
            "v": events.VERSION,
            "id": uuid.uuid4().hex,
            "ts": now_ms,
            "reason": reason,
            "method": method,
            "path": _kept(path[:MAX_KEPT].encode("utf-8", "surrogatepass")),
            "query": masked_query(pairs)[:MAX_KEPT],
            "ip": stored_ip(address, self._ip_storage),
            "user_agent": _kept(user_agent),
            "referrer": _cut(page_of(referrer)[0]),
        }
        settled = partial(self._settled, STRANGER_REASONS[reason])
        try:
            self._take(events.STRANGER, events.encode(event), settled)
        except NotJournaled as error:
            settled(error)

    def _settled(self, reason: str, error: NotJournaled | None) -> None:
        """The journal has it, or says that it will not: no room or no disk is left for strangers."""
        if error is None:
            self._counters.add_reason("strangers_kept", reason)
        else:
            self._counters.add_reason("strangers_unrecorded", reason)


def _kept(raw: bytes) -> str:
    """Any bytes as printable text of at most MAX_KEPT bytes."""
    return _cut(text_of(raw[:MAX_KEPT]))


def _cut(text: str) -> str:
    return text.encode()[:MAX_KEPT].decode("utf-8", "ignore")
