"""Sends visits and postbacks to the edge and keeps what it was answered.

A request without an answer is never sent again, because the first may have been counted: it is counted here as
unanswered and shown.
"""

import asyncio
import errno
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from management.rehearsal.errors import RehearsalError, Unanswered
from management.rehearsal.visits import Visit

CONNECTIONS: Final = 32
FOUND: Final = 302
_REQUEST_SECONDS: Final = 30.0
_LINK_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.05
_KEEP_SECONDS: Final = 4.0  # less than the edge keeps an idle connection, so that none is closed under a request
_CLICK_ID = re.compile(r"clk_[A-Za-z0-9_-]{36}")

Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class TrackingLink:
    """`host` is the name in the tracking URL, `slug` what follows `/c/`."""

    host: str
    slug: str

    @classmethod
    def of(cls, tracking_url: str) -> "TrackingLink":
        parts = urlsplit(tracking_url)
        return cls(parts.netloc, parts.path.removeprefix("/c/"))


@dataclass(frozen=True, slots=True)
class Answer:
    """`click_id` is the one in the Location, "" where the destination does not carry it."""

    status: int
    click_id: str = ""


@dataclass(slots=True)
class Tally:
    """What became of the requests: `answered` by status, `unanswered` by what happened instead."""

    answered: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    gave_up: bool = False
    _failing_since: float | None = None

    @property
    def sent(self) -> int:
        return self.answered.total() + self.unanswered.total()

    @property
    def seconds(self) -> float:
        return (self.ended if self.ended is not None else time.monotonic()) - self.began

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answered.total() / self.seconds if self.seconds > 0 else 0.0

    def with_status(self, statuses: Container[int]) -> int:
        return sum(count for status, count in self.answered.items() if status in statuses)

    def take(self, answer: Answer) -> None:
        self.answered[answer.status] += 1
        self._failing_since = None

    def miss(self, what: str) -> None:
        self.unanswered[what] += 1
        if self._failing_since is None:
            self._failing_since = time.monotonic()

    def silent_too_long(self) -> bool:
        """Whether only failures came for so long that there is nobody to wait for."""
        return self._failing_since is not None and time.monotonic() - self._failing_since > _SILENCE_SECONDS


async def _never_twice(
    request: aiohttp.ClientRequest, send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    """aiohttp repeats a GET by itself when a kept connection breaks; an exception it does not know stops it."""
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as error:
        raise Unanswered(what_happened(error)) from error


def what_happened(error: BaseException) -> str:
    """Why there is no answer, in words that tallies count by."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {_REQUEST_SECONDS:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, ConnectionResetError | BrokenPipeError | aiohttp.ServerDisconnectedError):
        return "connection reset"
    if isinstance(cause, OSError) and cause.errno in (errno.ECONNRESET, errno.EPIPE):
        # aiohttp's own class for them, which Python's are no parents of.
        return "connection reset"
    return type(cause).__name__


class Driver:
    """The visitors' and the advertisers' side of one edge."""

    def __init__(self, session: aiohttp.ClientSession, edge_url: str) -> None:
        self._session = session
        self.edge_url = edge_url

    async def visit(self, link: TrackingLink, visit: Visit) -> Answer:
        """One request for the link; raises Unanswered."""
        url = URL(f"{self.edge_url}/c/{link.slug}{visit.query}", encoded=True)
        status, location = await self._ask(visit.method, url, visit.headers(link.host))
        found = _CLICK_ID.search(location)
        return Answer(status, found[0] if found else "")

    async def postback(self, parameters: Mapping[str, str]) -> Answer:
        """One conversion call; raises Unanswered."""
        url = URL(f"{self.edge_url}/api/v1/postback").with_query(dict(parameters))
        status, _ = await self._ask("GET", url, {})
        return Answer(status)

    async def _ask(self, method: str, url: URL, headers: Mapping[str, str]) -> tuple[int, str]:
        try:
            async with self._session.request(method, url, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                return answer.status, answer.headers.get("Location", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unanswered(what_happened(error)) from error

    async def wait_for_link(self, link: TrackingLink, *, must_redirect: bool) -> None:
        """Return once the edge knows the link, asked with HEAD, which is never a click; raises RehearsalError.

        A link that need not redirect (a paused campaign's) cannot be told from an unknown one: any answer will do.
        """
        probe = Visit("127.0.0.1", "milepost rehearsal", method="HEAD")
        deadline = time.monotonic() + _LINK_SECONDS
        while True:
            try:
                answer = await self.visit(link, probe)
            except Unanswered as error:
                raise RehearsalError(
                    f"The edge does not answer at {self.edge_url} ({error}); start milepost with `milepost up`"
                ) from error
            if answer.status == FOUND or not must_redirect:
                return
            if time.monotonic() > deadline:
                raise RehearsalError(
                    f"The edge at {self.edge_url} answers {answer.status} for the link /c/{link.slug} instead of "
                    "redirecting; is it the edge of this installation?"
                )
            await asyncio.sleep(0.1)


@asynccontextmanager
async def open_driver(edge_url: str, connections: int = CONNECTIONS) -> AsyncIterator[Driver]:
    """A driver with its connections to the edge at `edge_url`, kept open between requests."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEP_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
        skip_auto_headers=("User-Agent",),
        auto_decompress=False,
        middlewares=(_never_twice,),
    ) as session:
        yield Driver(session, edge_url)


async def drive(
    steps: Iterator[tuple[float, Step]],
    send: Callable[[Step], Awaitable[Answer]],
    tally: Tally,
    workers: int = CONNECTIONS,
) -> None:
    """Send every step when it is due (seconds from now), at most `workers` at once, and keep the answers in `tally`.

    The steps are read as they are needed, so a log may have any length. Gives up (`tally.gave_up`) when nothing has
    been answered for 10 s.
    """
    tally.began = time.monotonic()

    async def work() -> None:
        for due, step in steps:
            wait = tally.began + due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if tally.gave_up:
                return
            try:
                tally.take(await send(step))
            except Unanswered as error:
                tally.miss(str(error))
                tally.gave_up |= tally.silent_too_long()
                # An edge that is being restarted refuses within microseconds: the rest of the log would be gone.
                await asyncio.sleep(_PAUSE_SECONDS)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    finally:
        tally.ended = time.monotonic()
