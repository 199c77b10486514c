"""Covers sending visits to something that speaks HTTP on a real socket, and keeping its answers. Leaves the real edge
to the end-to-end tests."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import repeat

import aiohttp
import pytest

from management.rehearsal.driver import Answer, Driver, Tally, TrackingLink, drive, open_driver, what_happened
from management.rehearsal.errors import RehearsalError, Unanswered
from management.rehearsal.visits import Visit

CLICK_ID = "clk_" + "aB-_" * 9
LINK = TrackingLink("go.example", "slug")
VISIT = Visit("192.0.2.1", "An agent", sub1="/a")
REDIRECT = f"HTTP/1.1 302 Found\r\nLocation: https://x.example/?c={CLICK_ID}&d=1\r\nContent-Length: 0\r\n\r\n".encode()
UNAVAILABLE = b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"
CLOSE = b""

Respond = Callable[[int, str], bytes]
"""From the number of the request on its connection, from 0, and its head to the answer; b"" closes without one."""


class Peer:
    """A server of few words. `heads` are the requests it got, each with its header lines."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.heads: list[str] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                answer = self._respond(number, head)
                if not answer:
                    return
                writer.write(answer)
                number += 1
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return  # the client has closed its end
        finally:
            writer.close()


@asynccontextmanager
async def peer(respond: Respond) -> AsyncIterator[Peer]:
    found = Peer(respond)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield found


async def closed_port() -> str:
    """The URL of a port where nobody listens."""
    async with peer(lambda number, head: CLOSE) as gone:
        return gone.url


def always(answer: bytes) -> Respond:
    return lambda number, head: answer


async def test_an_answer_keeps_its_status_and_click_id() -> None:
    async with peer(always(REDIRECT)) as edge, open_driver(edge.url) as driver:
        assert await driver.visit(LINK, VISIT) == Answer(302, CLICK_ID)


async def test_the_request_is_the_visitors_own() -> None:
    async with peer(always(REDIRECT)) as edge, open_driver(edge.url) as driver:
        await driver.visit(LINK, Visit("2001:db8::1", 'Agënt "7"', "https://a.example/", sub1="/a b"))
        first, *lines = edge.heads[0].split("\r\n")
    assert first == "GET /c/slug?sub1=%2Fa%20b HTTP/1.1"
    assert "Host: go.example" in lines
    assert "X-Forwarded-For: 2001:db8::1" in lines
    assert 'User-Agent: Agënt "7"'.encode().decode("latin-1") in lines
    assert "Referer: https://a.example/" in lines


async def test_a_visit_without_agent_sends_none() -> None:
    async with peer(always(REDIRECT)) as edge, open_driver(edge.url) as driver:
        await driver.visit(LINK, Visit("192.0.2.1", ""))
    assert "user-agent" not in edge.heads[0].lower()


async def test_redirects_are_not_followed_and_connections_are_kept() -> None:
    async with peer(always(REDIRECT)) as edge, open_driver(edge.url) as driver:
        for _ in range(5):
            await driver.visit(LINK, VISIT)
    assert (len(edge.heads), edge.connections) == (5, 1)


async def test_a_request_on_a_kept_connection_that_breaks_is_not_sent_twice() -> None:
    async with (
        peer(lambda number, head: REDIRECT if number == 0 else CLOSE) as edge,
        open_driver(edge.url) as driver,
    ):
        await driver.visit(LINK, VISIT)
        with pytest.raises(Unanswered, match="connection reset"):
            await driver.visit(LINK, VISIT)
    assert len(edge.heads) == 2


async def test_nobody_listening_is_connection_refused() -> None:
    async with open_driver(await closed_port()) as driver:
        with pytest.raises(Unanswered, match="connection refused"):
            await driver.visit(LINK, VISIT)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
        aiohttp.ClientOSError(errno.EPIPE, "broken pipe"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientConnectionResetError("Cannot write to closing transport"),
        ConnectionResetError(),
    ],
)
def test_every_way_in_which_a_connection_breaks_has_one_name(error: Exception) -> None:
    assert what_happened(error) == "connection reset"


async def test_what_is_no_http_is_unanswered() -> None:
    async with peer(always(b"hello\r\n\r\n")) as edge, open_driver(edge.url) as driver:
        with pytest.raises(Unanswered):
            await driver.visit(LINK, VISIT)


async def test_a_postback_carries_its_parameters() -> None:
    async with peer(always(UNAVAILABLE)) as edge, open_driver(edge.url) as driver:
        assert await driver.postback({"clickid": CLICK_ID, "payout": "1.50"}) == Answer(503)
    assert edge.heads[0].startswith(f"GET /api/v1/postback?clickid={CLICK_ID}&payout=1.50 HTTP/1.1")


async def test_waiting_for_a_link_asks_with_head_until_it_redirects() -> None:
    answers = iter((UNAVAILABLE, UNAVAILABLE, REDIRECT))
    async with peer(lambda number, head: next(answers)) as edge, open_driver(edge.url) as driver:
        await driver.wait_for_link(LINK, must_redirect=True)
    assert [head.split(" ")[0] for head in edge.heads] == ["HEAD"] * 3


async def test_waiting_for_the_link_of_an_edge_that_is_away_says_how_to_start_it() -> None:
    async with open_driver(await closed_port()) as driver:
        with pytest.raises(RehearsalError, match="milepost up"):
            await driver.wait_for_link(LINK, must_redirect=True)


async def driven(respond: Respond, visits: int, workers: int = 4) -> Tally:
    tally = Tally()
    async with peer(respond) as edge, open_driver(edge.url) as driver:
        await drive(iter([(0.0, VISIT)] * visits), sending(driver), tally, workers)
    return tally


def sending(driver: Driver) -> Callable[[Visit], "asyncio.Future[Answer]"]:
    return lambda visit: asyncio.ensure_future(driver.visit(LINK, visit))


async def test_every_step_is_sent_once_and_answers_are_counted_by_status() -> None:
    tally = await driven(lambda number, head: UNAVAILABLE if number % 5 == 4 else REDIRECT, 100, workers=1)
    assert tally.answered == {302: 80, 503: 20}
    assert (tally.sent, tally.with_status((302,)), tally.unanswered.total()) == (100, 80, 0)
    assert tally.ended is not None


async def test_a_request_without_answer_is_counted_as_that() -> None:
    tally = await driven(lambda number, head: REDIRECT if number < 9 else CLOSE, 20, workers=1)
    assert tally.answered == {302: 18}
    assert tally.unanswered == {"connection reset": 2}


async def test_no_more_than_the_given_number_is_under_way() -> None:
    under_way = most = 0

    async def send(step: int) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return Answer(302)

    await drive(((0.0, step) for step in range(50)), send, Tally(), workers=3)
    assert most == 3


async def test_steps_wait_until_they_are_due() -> None:
    sent_at: list[float] = []

    async def send(step: int) -> Answer:
        sent_at.append(time.monotonic())
        return Answer(302)

    tally = Tally()
    await drive(((step * 0.05, step) for step in range(4)), send, tally)
    offsets = [moment - tally.began for moment in sent_at]
    assert all(offset >= step * 0.05 for step, offset in enumerate(offsets))


async def test_steps_are_read_only_as_they_are_needed() -> None:
    read = 0

    def steps() -> Iterator[tuple[float, int]]:
        nonlocal read
        for step in range(1_000):
            read += 1
            yield 0.0, step

    async def send(step: int) -> Answer:
        assert read <= step + 4
        await asyncio.sleep(0)
        return Answer(302)

    await drive(steps(), send, Tally(), workers=4)
    assert read == 1_000


async def test_an_edge_that_stays_away_ends_the_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("management.rehearsal.driver._SILENCE_SECONDS", 0.2)
    tally = Tally()
    async with open_driver(await closed_port()) as driver:
        await drive(repeat((0.0, VISIT)), sending(driver), tally, workers=2)
    assert tally.gave_up
    assert set(tally.unanswered) == {"connection refused"}
