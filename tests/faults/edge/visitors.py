"""Visitors on bare connections who keep a ledger: what was answered, what was refused, and every broken promise of
HTTP: a refused or reset connection, half an answer, silence, an end without an answer, an answer to another request.

tests.faults.load's clients forgive a broken connection, because there the edge itself is killed. These do not.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

from shared.campaigns import CampaignRow

CAMPAIGN: Final = CampaignRow(
    id=1,
    uuid="00000000-0000-4000-8000-0000000000f1",
    account_id=1,
    version=1,
    name="Faults",
    destination_url="https://shop.example/landing?clickid={clickid}&n={sub1}",
)
Style = Literal["kept", "single", "pipelined"]
"""Many requests a connection; one; several at a time."""
PIPELINED: Final = 8
PATIENCE: Final = 30.0
_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@dataclass
class Ledger:
    """What visitors saw. `broken` names what must never be seen; `unanswered` counts requests without an answer."""

    clicks: list[str] = field(default_factory=list)
    postbacks: list[str] = field(default_factory=list)
    """Click ids of the postbacks that were answered 200."""
    refused: Counter[int] = field(default_factory=Counter)
    refused_postbacks: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    """Refusals with 503 that do not say when to come again."""
    broken: list[str] = field(default_factory=list)
    unanswered: int = 0
    passed_over: int = 0
    """Requests behind an answer that announced the connection's end: for the client, never processed."""


class Closed(Exception):
    """The connection ended where an answer should have begun or gone on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ends_connection(self) -> bool:
        return self.headers.get("connection") == "close"

    def location(self, name: str) -> str:
        """A parameter of the redirect's target."""
        return parse_qs(urlsplit(self.headers["location"]).query)[name][0]


class Visitor:
    """One visitor: requests in one style, and a postback for every eighth click if `converts`."""

    _numbers = count()

    def __init__(
        self, port: int, style: Style, ledger: Ledger, *, converts: bool = False, pause: float = 0.005, padding: int = 0
    ) -> None:
        """`pause` in seconds between requests; `padding` makes each event larger by so many bytes."""
        self.port = port
        self.style: Style = style
        self.ledger = ledger
        self.local_ports: list[int] = []
        self._name = f"{style} visitor {next(self._numbers)}"
        self._converts = converts
        self._pause = pause
        self._padding = f"&padding={'x' * padding}" if padding else ""
        self._chance = random.Random(self._name)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._sent = 0

    async def run(self, stop: asyncio.Event, clicks: int | None = None) -> None:
        """Click until `stop`, or for so many rounds; then close."""
        rounds = range(clicks) if clicks is not None else count()
        for _ in rounds:
            if stop.is_set():
                break
            await self.turn()
            await asyncio.sleep(self._pause * self._chance.uniform(0.5, 1.5))
        self.leave()

    async def turn(self) -> None:
        """One round: a click, or several at a time, and what follows from them."""
        numbers = [f"{self._name.rpartition(' ')[2]}.{self._sent + step}" for step in range(self._at_a_time)]
        self._sent += len(numbers)
        paths = [f"/c/{CAMPAIGN.uuid}?sub1={number}{self._padding}" for number in numbers]
        converted = None
        for number, answer in zip(numbers, await self.ask(paths), strict=False):
            if answer.status != 302:
                self.ledger.refused[answer.status] += 1
                self._note_retry(answer)
                continue
            if answer.location("n") != number:
                self.ledger.broken.append(f"{self._name}: {number} got the answer of {answer.location('n')}")
            converted = answer.location("clickid")
            self.ledger.clicks.append(converted)
        if self._converts and converted is not None and self._chance.random() < 0.125:
            await self.convert(converted)

    async def convert(self, click_id: str) -> int | None:
        """Send the postback of a click; the status of its answer, None without one."""
        for answer in await self.ask([f"/api/v1/postback?clickid={click_id}&payout=2.50&txid=t{self._padding}"]):
            if answer.status == 200:
                self.ledger.postbacks.append(click_id)
            else:
                self.ledger.refused_postbacks[answer.status] += 1
                self._note_retry(answer)
            return answer.status
        return None

    @property
    def _at_a_time(self) -> int:
        return PIPELINED if self.style == "pipelined" else 1

    def _note_retry(self, answer: Seen) -> None:
        if answer.status == 503 and "retry-after" not in answer.headers:
            self.ledger.without_retry_after += 1

    async def ask(self, paths: Sequence[str]) -> list[Seen]:
        """Send the requests at once and read their answers; fewer answers when the ledger says why."""
        answers: list[Seen] = []
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self._connection()
                close = b"Connection: close\r\n" if self.style == "single" else b""
                head = b" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %b\r\n%b\r\n" % (_AGENT.encode(), close)
                writer.write(b"".join(b"GET " + path.encode() + head for path in paths))
                await writer.drain()
                for _ in paths:
                    answers.append(await _answer(reader))
                    if answers[-1].ends_connection:
                        break
        except TimeoutError:
            self._break("no answer", len(paths) - len(answers))
        except Closed as end:
            self._break(str(end), len(paths) - len(answers))
        except OSError as error:
            self._break(type(error).__name__, len(paths) - len(answers))
        else:
            self.ledger.passed_over += len(paths) - len(answers)
            if answers[-1].ends_connection:
                self.leave()
        return answers

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None:
            # An end before anything was asked is ordinary; whatever is asked from here on must be answered.
            if not self._streams[0].at_eof() and self._streams[0].exception() is None:
                return self._streams
            self.leave()
        self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        self.local_ports.append(self._streams[1].get_extra_info("sockname")[1])
        return self._streams

    def _break(self, how: str, unanswered: int) -> None:
        self.ledger.unanswered += unanswered
        port = self.local_ports[-1] if self.local_ports else "unconnected"
        self.ledger.broken.append(f"{self._name} ({port}): {how}, {unanswered} unanswered")
        self.leave()

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _answer(reader: asyncio.StreamReader) -> Seen:
    begun = b""
    try:
        begun = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = begun.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError as error:
        cut = bool(begun or error.partial)
        raise Closed("half an answer" if cut else "closed without an answer") from error
    return Seen(int(status_line.split()[1]), headers, body)


@asynccontextmanager
async def visiting(visitors: Sequence[Visitor]) -> AsyncIterator[asyncio.Event]:
    """Lets all of them click until the block ends; each finishes its round. Their errors are raised at the end."""
    stop = asyncio.Event()
    rounds = [asyncio.create_task(visitor.run(stop)) for visitor in visitors]
    try:
        yield stop
    finally:
        stop.set()
        ends = await asyncio.gather(*rounds, return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    if errors:
        raise errors[0]
