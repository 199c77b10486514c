"""HTTP/1.1 as the edge speaks it: uvicorn's httptools protocol with limits, deadlines and a direct way for links.

llhttp reads the bytes; this class decides what may come in and in which order answers leave. A request for a link is
answered from what the parser gives, without an ASGI task; everything else becomes a cycle of uvicorn's. Rules:

- All answers of a connection wait in one queue, first in, first out, and leave in a later step of the loop than the
  one that read their requests.
- What is refused (malformed, too large, too slow) is answered behind what came before it, and ends the connection;
  nothing behind it is read.
- A connection ends politely: our side is closed first, and what still arrives is thrown away until the other side
  closes too, because a close over unread bytes would reset the connection and take the answer with it.
"""

import asyncio
import re
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar, Final

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from edge import answers
from edge.answers import Answer
from edge.connections import BODY, HEAD, IDLE, LIMITS, LINGER, PARTING_LIMIT, UNREAD_LIMIT, Connections
from edge.counters import Counters
from edge.hosts import Hosts
from edge.links import Links
from edge.replies import DirectReply, PoliteTransport
from edge.request_head import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_TARGET,
    SURELY_SMALL,
    Pairs,
    Refused,
    check_trailers,
    judged,
    mended,
    unquoted,
    version_answer,
)

log = structlog.get_logger("edge.protocol")

LINK_PREFIX: Final = b"/c/"
MAX_DRAINED: Final = 64 * 1024
"""Of the body that a request for a link has no use for."""
_MAX_LATER: Final = {HEAD: MAX_TARGET + MAX_HEAD + 1024, BODY: 2 * MAX_DRAINED}
"""By phase: a head or body that is not over after so many bytes more is too large, whatever it holds (the sizes of
chunks, their extensions and trailers are no part of what the parser hands over)."""
_METHOD = re.compile(rb"[\r\n]*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} ")
_MANY_ANSWERS: Final = 256
"""So many requests may wait for their answers on one connection before it is read no further."""


class _Enough(Exception):
    """A link's request has sent more body than is drained: it is answered now, and the connection ends."""


class Site:
    """What the connections of a worker share."""

    def __init__(self, links: Links, hosts: Hosts, connections: Connections, counters: Counters) -> None:
        self.ask = links.ask
        self.answers_host = hosts.answers
        self.connections = connections
        self.counters = counters


class EdgeProtocol(HttpToolsProtocol):
    """One connection. Subclasses bind `site`; uvicorn makes the instances."""

    site: ClassVar[Site]

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read_strictly()
        self._queue: deque[DirectReply | RequestResponseCycle] = deque()
        self._running: RequestResponseCycle | None = None
        self._advance_due = False
        self._holder: bytes | None = None
        self._peer = ""
        self._phase = IDLE
        self._since = 0
        self._unread_since = 0
        # What of the bytes in hand belongs to the head that is being read.
        self._fed = 0
        self._fresh = False
        self._head_bound = 0
        self._later = 0
        # The request for a link that is being read.
        self._link: DirectReply | None = None
        self._known_host = False
        self._method = self._path = ""
        self._query = b""
        self._headers: dict[bytes, bytes] = {}
        self._pairs: Pairs = []
        self._drained = 0
        # How this connection will end.
        self._last = False
        self._half_closed = False
        self._parting = False

    def _read_strictly(self) -> None:
        # What follows a request that asked for the end is no request.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        connections = self.site.connections
        self._peer = self.client[0] if self.client else ""
        self._since = connections.tick
        self._holder = connections.admit(self._peer)
        if self._holder is None:
            self.site.counters.add("refused_connections")
            self.transport.write(answers.CROWDED.render(connections.stamp, bodiless=False, close=True))
            self.linger()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.site.connections.leave(self._holder)
        for waiting in self._queue:
            if isinstance(waiting, RequestResponseCycle):
                _disconnect(waiting)
        self._queue.clear()
        # Until the collector comes by: a closed connection is part of a cycle, and its requests may have been large.
        self.url, self.headers, self._pairs, self._headers = b"", [], [], {}

    def eof_received(self) -> bool:  # type: ignore[override]
        """The other side sends no more. What it asked for is still answered; then, or at once, this side closes."""
        self._half_closed = True
        if self._phase in (HEAD, BODY):
            self._drop_unfinished()
        return bool(self._queue)

    def data_received(self, data: bytes) -> None:
        if self._last:
            return
        self._fed = size = len(data)
        phase = self._phase
        if phase == HEAD:
            self._head_bound += size
            self._later += size
        elif phase == BODY:
            self._later += size
        self._fresh = phase == IDLE
        self._feed(data)
        if self._phase != IDLE and not self._last:
            self._check_unfinished(data)
        self._fed = 0
        if len(self._queue) > _MANY_ANSWERS:
            self.flow.pause_reading()

    def _check_unfinished(self, data: bytes) -> None:
        """Refuse what need not come to its end: what is too large already, and a first line that is over and names no
        version, which is a whole request of HTTP/0.9."""
        if self._later > _MAX_LATER[self._phase]:
            self._refuse(answers.LARGE_HEAD if self._phase == HEAD else answers.LARGE_BODY)
        elif self._phase == HEAD:
            version = self.parser.get_http_version()
            if version == "0.9" or (version == "0.0" and b"\n" in data.lstrip(b"\r\n")):
                self._refuse(answers.MALFORMED)

    def _feed(self, data: bytes) -> None:
        broken = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # what follows is in a protocol that nobody here speaks
        except httptools.HttpParserError as error:
            broken = error
        # Outside of the handler: an error within it would bring this one as its context, where the cause should be.
        if broken is not None:
            self._broken(data, broken)

    # What the parser says.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._head_bound = self._fed
        self._later = 0
        self._phase = HEAD
        self._since = self.site.connections.tick

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_TARGET:
            raise Refused(answers.LONG_TARGET)

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self.headers
        headers.append((name.lower(), value))
        if len(headers) > MAX_HEADERS:
            raise Refused(answers.LARGE_HEAD)

    def on_headers_complete(self) -> None:
        parser = self.parser
        version = parser.get_http_version()
        pairs: Pairs = self.headers
        # Trailers come through on_header too, and are no headers.
        self.headers = []
        host, path, query, headers = judged(version, self.url, pairs, small=self._head_bound <= SURELY_SMALL)
        method = parser.get_method().decode("ascii")
        keep_alive = version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade()
        self._phase = BODY
        self._later = 0
        self._known_host = self.site.answers_host(host)
        if path.startswith(LINK_PREFIX) or not self._known_host:
            self._link = reply = DirectReply(self, method == "HEAD", not keep_alive)
            self._queue.append(reply)
            self._drained = 0
            self._method, self._query, self._headers, self._pairs = method, query, headers, pairs
            self._path = unquoted(path).decode("latin-1")
        else:
            self._queue_cycle(method, version, path, query, pairs, keep_alive)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._link is not None or cycle.response_complete:
            self._drained += len(body)
            if self._drained > MAX_DRAINED:
                raise _Enough
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.headers:
            check_trailers(self.headers)
        self._fresh = False
        self._phase = IDLE
        self._since = self.site.connections.tick
        reply = self._link
        if reply is not None:
            self._link = None
            self._last = reply.close
            self._ask(reply)
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._last = not self.cycle.keep_alive

    # Requests.

    def _ask(self, reply: DirectReply) -> None:
        site = self.site
        try:
            if self._known_host:
                site.ask(self._method, self._path, self._query, self._headers, self._pairs, self._peer, "http", reply)
            else:
                site.counters.add("unknown_hosts")
                reply.give(answers.NOT_FOUND)
        except Exception:
            # An error of the program: 503, never 500, and the worker goes on.
            site.counters.add("errors")
            with suppress(OSError):
                log.exception("request failed", method=self._method, path=self._path[:200])
            reply.give(answers.UNAVAILABLE)

    def _queue_cycle(
        self, method: str, version: str, path: bytes, query: bytes, pairs: Pairs, keep_alive: bool
    ) -> None:
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "root_path": "",
            "headers": pairs,
            "state": self.app_state.copy(),
            "method": method,
            "path": unquoted(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
        }
        self._drained = 0
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=PoliteTransport(self),  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=any(name == b"expect" and value.lower() == b"100-continue" for name, value in pairs),
            keep_alive=keep_alive,
            on_response=self._advance_soon,
        )
        self._queue.append(self.cycle)
        self._advance_soon()

    def _broken(self, data: bytes, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if self._last:
            return  # behind a request that asked for the end
        if isinstance(cause, Refused):
            self._refuse(cause.answer)
        elif isinstance(cause, _Enough):
            self._enough()
        elif isinstance(error, httptools.HttpParserCallbackError):
            self.site.counters.add("errors")
            with suppress(OSError):
                log.error("parsing failed", exc_info=cause)
            self._refuse(answers.UNAVAILABLE)
        elif self._fresh and self._phase == HEAD and (whole := mended(data)) != data:
            self.parser = httptools.HttpRequestParser(self)
            self._read_strictly()
            self._feed(whole)
        elif self._fresh and isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(data):
            self._refuse(answers.UNKNOWN_METHOD)
        else:
            self._refuse(version_answer(self.parser.get_http_version()))

    def _enough(self) -> None:
        self._last = True
        reply, self._link = self._link, None
        if reply is None:
            return self.linger()
        reply.close = True
        self._phase = IDLE
        self._ask(reply)

    def _refuse(self, answer: Answer) -> None:
        """Answer what is being read, behind all that came before it, and read no more."""
        self.site.counters.add("refused_requests")
        self._last = True
        self._drop_unfinished()
        reply = DirectReply(self, False, True)
        self._queue.append(reply)
        reply.give(answer)

    def _drop_unfinished(self) -> None:
        """Forget the request that is being read: it will not come to its end."""
        if self._phase == BODY and self._queue:
            if self._link is not None:
                self._queue.pop()
            elif self._queue[-1] is self.cycle:
                _disconnect(self.cycle)
                self._queue.pop()
        self._link = None
        self._phase = IDLE

    # Answers.

    def answered(self, reply: DirectReply) -> None:
        """`reply` has its answer. It leaves when it is the first of the queue, and never while its bytes are read."""
        if self._fed:
            self._advance_soon()
        else:
            self._advance()

    def _advance_soon(self) -> None:
        if not self._advance_due:
            self._advance_due = True
            self.loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._advance_due = False
        queue, transport = self._queue, self.transport
        if transport.is_closing():
            return
        while queue:
            first = queue[0]
            if isinstance(first, DirectReply):
                if self._parting and len(queue) == 1 and self._phase == IDLE:
                    first.close = True
                content = first.content(self.site.connections)
                if content is None:
                    return
                transport.write(content)
                queue.popleft()
                if first.close:
                    return self.linger()
            elif first is not self._running:
                self._running = first
                return self._start_asgi_task(first, self.app)
            elif first.response_complete:
                queue.popleft()
                self._running = None
                if self._phase == BODY and first is self.cycle:
                    return self.linger()  # the rest of its body is not wanted
            else:
                return
        self._quiet()

    def _quiet(self) -> None:
        """Everything asked for is answered."""
        if self._phase == IDLE:
            self._since = self.site.connections.tick
        if self._half_closed:
            self.transport.close()
        elif self._parting and self._phase == IDLE:
            self.linger()
        elif self.flow.read_paused and not self.flow.write_paused:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """The other side does not read its answers: it gets no more of them."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if len(self._queue) <= _MANY_ANSWERS:
            self.flow.resume_reading()

    # The end.

    def linger(self) -> None:
        """Close this side; what still arrives is thrown away until the other side closes or the sweep has enough."""
        self._last = True
        self._phase = LINGER
        self._since = self.site.connections.tick
        self._queue.clear()
        if self._half_closed:
            self.transport.close()
        elif not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()

    def shutdown(self) -> None:
        """The worker ends: what was asked for is answered. A connection that was busy a moment ago is about to ask
        again, so it is told with its next answer; one that stays silent is closed by the sweep."""
        self._parting = True
        if self._queue and self._queue[-1] is self.cycle:
            self.cycle.keep_alive = False

    def look_after(self, tick: int) -> None:
        """See `edge.connections.Connection`."""
        if self.transport.get_write_buffer_size():
            self._unread_since = self._unread_since or tick
            if tick - self._unread_since >= UNREAD_LIMIT:
                self.transport.abort()
            return
        self._unread_since = 0
        phase = self._phase
        if phase == IDLE and self._queue:
            return
        limit = PARTING_LIMIT if self._parting and phase == IDLE else LIMITS[phase]
        if tick - self._since < limit:
            return
        if phase == IDLE:
            return self.linger()
        if phase != LINGER:
            self.site.counters.add("overdue_connections")
        self.transport.abort()


def _disconnect(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()


def protocol_of(site: Site) -> type[EdgeProtocol]:
    """The class whose instances uvicorn makes for the connections of `site`."""
    return type("SiteProtocol", (EdgeProtocol,), {"site": site})
