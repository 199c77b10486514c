"""`/c/…` between the connection and the journal: an answer leaves when the click is durable, and not before.

No Redis, no broker, no database, no log line on a click.
"""

import time
from functools import partial
from typing import Final, Literal, Protocol

from edge import answers
from edge.answers import Answer
from edge.click import Click, ClickCore
from edge.clock import Clock
from edge.counters import Counters
from edge.request_head import Pairs
from edge.routing_table import RoutingTable
from edge.strangers import Strangers
from shared import events
from shared.journal import JournalFull, JournalWriter, NotJournaled

_READING: Final = frozenset(("GET", "HEAD"))


class Reply(Protocol):
    """Where the answer to one request goes; called once."""

    def give(self, answer: Answer) -> None: ...
    def redirect(self, location: bytes) -> None: ...


class Links:
    """Answers requests for links. `ask` never waits: the answer comes through `reply`, in this step or a later one."""

    def __init__(
        self,
        core: ClickCore,
        routing: RoutingTable,
        journal: JournalWriter,
        counters: Counters,
        strangers: Strangers,
        clock: Clock,
        on_disk_full: Literal["redirect", "refuse"],
    ) -> None:
        self._judge = core.judge
        self._address = core.address
        self._strangers = strangers
        self._routing = routing
        self._now = clock.now
        self._take = journal.take
        self._declare_lost = journal.declare_lost
        self._counters = counters
        self._redirects_when_full = on_disk_full == "redirect"

    def ask(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: dict[bytes, bytes],
        pairs: Pairs,
        peer: str,
        scheme: str,
        reply: Reply,
    ) -> None:
        if method not in _READING:
            self._counters.add("refused_methods")
            return reply.give(answers.LINK_OPTIONS if method == "OPTIONS" else answers.LINK_METHOD)
        table = self._routing.current
        if table is None:
            self._counters.add("not_ready")
            return reply.give(answers.UNAVAILABLE)
        now_ms, reported_ms = self._now()
        click = self._judge(table, method, path, query, headers, pairs, peer, scheme, now_ms, reported_ms)
        if click is None:
            # Unknown, foreign and deleted links go this one way, so that neither body nor time tells them apart.
            reply.give(answers.NOT_FOUND)
            return self._unknown(method, path, query, headers, pairs, peer, reported_ms)
        try:
            self._take(events.CLICK, click[0], partial(self._settled, click, reply))
        except NotJournaled as error:
            self._settled(click, reply, error)

    def _unknown(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: dict[bytes, bytes],
        pairs: Pairs,
        peer: str,
        now_ms: int,
    ) -> None:
        self._counters.add("unknown_links")
        self._strangers.unknown_link(
            now_ms,
            time.monotonic(),
            method,
            path,
            query,
            self._address(peer, headers, pairs),
            headers.get(b"user-agent", b""),
            headers.get(b"referer", b""),
        )

    def _settled(self, click: Click, reply: Reply, error: NotJournaled | None) -> None:
        """The journal has the click, or says that it will not."""
        if error is None:
            self._counters.click(click[3])
            _answer(click, reply)
        elif not isinstance(error, JournalFull):
            self._refuse("journal_refused", reply)
        elif self._redirects_when_full:
            self._lose(click, reply)
        else:
            self._refuse("refused_for_space", reply)

    def _lose(self, click: Click, reply: Reply) -> None:
        """Answer although there is no room for the event: the loss is declared, durably, before the answer."""
        try:
            self._declare_lost(partial(self._lost, click, reply))
        except NotJournaled as error:
            self._lost(click, reply, error)

    def _lost(self, click: Click, reply: Reply, error: NotJournaled | None) -> None:
        if error is None:
            _answer(click, reply)
        else:
            self._refuse("journal_refused", reply)

    def _refuse(self, counter: str, reply: Reply) -> None:
        self._counters.add(counter)
        reply.give(answers.UNAVAILABLE)


def _answer(click: Click, reply: Reply) -> None:
    _, answer, location, _ = click
    if answer is None:
        reply.redirect(location)
    else:
        reply.give(answer)
