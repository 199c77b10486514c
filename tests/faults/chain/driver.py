"""The visitors and advertisers: a process of its own that asks at a steady rate and writes down what it was answered.

It speaks HTTP itself, because clients of good will repeat a GET unseen when a kept connection breaks: such a click
would count twice. Until SIGTERM; then what is under way is finished.
"""

import asyncio
import os
import random
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
import uvloop

from shared.ids import click_id_bytes
from tests.faults.chain.oracle import Ledger, Page, asked_click, payout

REQUEST_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 0.05
_POSTBACKS: Final = 0.125  # of the clicks convert
_REPEATS: Final = 0.2  # of the postbacks are sent once more


@dataclass(frozen=True)
class Plan:
    """`uuids`: of the campaigns, in the order of `Asked.campaign`; `rate`: clicks a second; `clicks`: no more."""

    port: int
    uuids: list[str]
    ledger: str
    page: str
    seed: int
    rate: float
    connections: int
    clicks: int

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.chain.driver", orjson.dumps(asdict(self)).decode()]


class Driver:
    """All connections share one ledger and one clock."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ledger = Ledger(Path(plan.ledger))
        self._page = Page(Path(plan.page))
        self._chance = random.Random(plan.seed)
        self._asked = self._answered = self._in_flight = self._postbacks = self._broken = self._transactions = 0
        self._next_at = 0.0
        self.stop = asyncio.Event()

    async def run(self) -> None:
        self._next_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.connections):
                group.create_task(self._visit())
        self._ledger.close()

    async def _visit(self) -> None:
        connection = Connection(self._plan.port)
        while not self.stop.is_set() and self._asked < self._plan.clicks:
            await self._turn()
            click_id = await self._click(connection)
            if click_id is None:
                await asyncio.sleep(_PAUSE_SECONDS)
            elif self._chance.random() < _POSTBACKS:
                self._transactions += 1
                transaction = self._transactions
                await self._postback(connection, transaction, click_id)
                if self._chance.random() < _REPEATS:
                    await self._postback(connection, transaction, click_id)
        connection.close()

    async def _turn(self) -> None:
        """Waits for this request's moment; moments that an outage took are not made up for."""
        now = asyncio.get_running_loop().time()
        self._next_at = max(self._next_at + 1 / self._plan.rate, now - 0.2)
        await asyncio.sleep(self._next_at - now)

    async def _click(self, connection: "Connection") -> str | None:
        number = self._asked
        self._asked += 1
        asked = asked_click(self._plan.seed, number)
        query = urlencode({"sub1": asked.sub1, "sub2": asked.sub2, "external_id": asked.external_id})
        headers = (
            f"User-Agent: {asked.agent}\r\nX-Forwarded-For: {asked.address}\r\nAccept-Language: {asked.language}\r\n"
        )
        self._ledger.write("A", number)
        answer = await self._ask(connection, f"/c/{self._plan.uuids[asked.campaign]}?{query}", headers)
        if answer is None:
            return None
        if answer.status != 302:
            self._failed(answer.status)
            return None
        click_id = parse_qs(urlsplit(answer.location).query)["clickid"][0]
        self._ledger.write("C", number, click_id)
        self._answered += 1
        self._page.remember(self._answered, click_id_bytes(click_id))
        self._publish()
        return click_id

    async def _postback(self, connection: "Connection", transaction: int, click_id: str) -> None:
        query = urlencode({"clickid": click_id, "payout": payout(transaction), "txid": f"t{transaction}"})
        self._ledger.write("Q", transaction, click_id)
        answer = await self._ask(connection, f"/api/v1/postback?{query}", "User-Agent: advertiser\r\n")
        if answer is None:
            return
        if answer.status != 200:
            self._failed(answer.status)
            return
        self._ledger.write("P", transaction)
        self._postbacks += 1
        self._publish()

    async def _ask(self, connection: "Connection", target: str, headers: str) -> "Answer | None":
        self._in_flight += 1
        self._publish()
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await connection.ask(target, headers)
        except (OSError, EOFError, TimeoutError):
            connection.close()
            self._failed(0)
            return None
        finally:
            self._in_flight -= 1
            self._publish()

    def _failed(self, status: int) -> None:
        self._ledger.write("X", status)
        self._broken += 1
        self._publish()

    def _publish(self) -> None:
        self._page.publish(self._asked, self._answered, self._in_flight, self._postbacks, self._broken)


@dataclass(frozen=True)
class Answer:
    status: int
    location: str


class Connection:
    """Kept alive, opened again after a break by the next request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, target: str, headers: str) -> Answer:
        """Raises OSError and EOFError: whether the request was heard is not known then."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{headers}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            self.close()
        return Answer(int(head[0].split(" ")[1]), fields.get("location", ""))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def main() -> None:
    driver = Driver(Plan(**orjson.loads(sys.argv[1])))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, driver.stop.set)
    leaving = asyncio.create_task(leave_with(os.getppid(), driver.stop))
    await driver.run()
    leaving.cancel()


async def leave_with(parent: int, stop: asyncio.Event) -> None:
    """Sets `stop` when the process that wanted this load is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(1.0)
    stop.set()


if __name__ == "__main__":
    uvloop.run(main())
