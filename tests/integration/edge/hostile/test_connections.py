"""How many connections one address may hold (MILEPOST_EDGE_CONNECTIONS_PER_ADDRESS; not for trusted proxies), and what
a thousand slow ones do to good clients: nothing (api.md section 6).

Loopback is trusted by default, so these edges trust another network, and addresses of 127.0.0.0/8 are strangers.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from shared.data_dir import DataDir
from tests.integration.edge.harness import Edge, Valkey, await_true
from tests.integration.edge.hostile.exchange import LINK, request
from tests.integration.edge.raw import Connection, End

CAP = 5
PROXY, STRANGER, NEIGHBOUR = "127.0.0.99", "127.0.0.2", "127.0.0.3"


def started(valkey: Valkey, factory: pytest.TempPathFactory, cap: int) -> Edge:
    settings = {"MILEPOST_TRUSTED_PROXIES": f"{PROXY}/32", "MILEPOST_EDGE_CONNECTIONS_PER_ADDRESS": str(cap)}
    return Edge(DataDir.at(factory.mktemp("edge")), valkey.url, settings)


@pytest.fixture(scope="module")
def capped(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with started(valkey, tmp_path_factory, CAP) as edge:
        yield edge


def is_served(edge: Edge, source: str) -> bool:
    with Connection(edge.port, source=source) as connection:
        connection.send(request())
        return connection.read().status == 302


def filled(edge: Edge, stack: ExitStack, source: str, count: int) -> list[Connection]:
    """`count` connections from `source` that the edge has taken: each had an answer."""
    connections = [stack.enter_context(Connection(edge.port, source=source)) for _ in range(count)]
    for connection in connections:
        connection.send(request())
        assert connection.read().status == 302
    return connections


def test_an_address_that_holds_its_share_gets_503_and_no_more(capped: Edge) -> None:
    await_true(lambda: is_served(capped, STRANGER), "nothing is held")
    with ExitStack() as stack:
        held = filled(capped, stack, STRANGER, CAP)
        before = len(capped.clicks())
        for _ in range(3):
            with Connection(capped.port, source=STRANGER) as refused:
                answer = refused.read()
                assert answer.status == 503
                assert answer.header("connection") == "close"
                assert refused.end() is End.CLOSED
        assert is_served(capped, NEIGHBOUR)
        assert len(capped.clicks()) == before + 1
        # those it holds are still served
        for connection in held:
            connection.send(request())
            assert connection.read().status == 302


def test_a_request_of_who_holds_too_many_is_not_done(capped: Edge) -> None:
    """Sent at once, before the refusal could be read."""
    await_true(lambda: is_served(capped, STRANGER), "nothing is held")
    with ExitStack() as stack:
        filled(capped, stack, STRANGER, CAP)
        before = len(capped.clicks())
        with Connection(capped.port, source=STRANGER) as refused:
            refused.send(request())
            assert refused.read().status == 503
            assert refused.end() is not End.OPEN
        time.sleep(0.3)
        assert len(capped.clicks()) == before


@pytest.mark.parametrize("how", ["close", "abort", "refusal", "answer"])
def test_an_end_of_any_kind_frees_its_place(capped: Edge, how: str) -> None:
    """Ten times over, so that nothing is lost and nothing is gained."""
    await_true(lambda: is_served(capped, STRANGER), "nothing is held")
    for _ in range(10):
        with ExitStack() as stack:
            connections = filled(capped, stack, STRANGER, CAP - 1)
            for connection in connections:
                if how == "refusal":
                    connection.send(b"nonsense\r\n\r\n")
                    assert connection.read().status == 400
                elif how == "answer":
                    connection.send(request(LINK, b"Connection: close"))
                    assert connection.read().status == 302
                if how == "abort":
                    connection.abort()
                else:
                    connection.close()
        await_true(lambda: is_served(capped, STRANGER), "the places are free", 5)
    with ExitStack() as stack:
        filled(capped, stack, STRANGER, CAP)
        with Connection(capped.port, source=STRANGER) as refused:
            assert refused.read().status == 503


def test_refused_connections_hold_no_place_although_they_stay(capped: Edge) -> None:
    await_true(lambda: is_served(capped, STRANGER), "nothing is held")
    with ExitStack() as stack:
        held = filled(capped, stack, STRANGER, CAP)
        for _ in range(20):
            refused = stack.enter_context(Connection(capped.port, source=STRANGER))
            assert refused.read().status == 503
        for connection in held:
            connection.close()
        await_true(lambda: is_served(capped, STRANGER), "the places are free", 1.5)


def test_a_header_gives_no_other_address(capped: Edge) -> None:
    await_true(lambda: is_served(capped, STRANGER), "nothing is held")
    with ExitStack() as stack:
        for number in range(CAP):
            connection = stack.enter_context(Connection(capped.port, source=STRANGER))
            connection.send(request(LINK, b"X-Forwarded-For: 203.0.113.%d" % number))
            assert connection.read().status == 302
        with Connection(capped.port, source=STRANGER) as refused:
            assert refused.read().status == 503


def test_a_trusted_proxy_may_hold_any_number(capped: Edge) -> None:
    with ExitStack() as stack:
        assert len(filled(capped, stack, PROXY, CAP * 40)) == CAP * 40


def test_zero_turns_the_cap_off(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> None:
    with started(valkey, tmp_path_factory, 0) as edge, ExitStack() as stack:
        assert len(filled(edge, stack, STRANGER, 700)) == 700


def test_the_cap_is_512_unless_said_otherwise(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"MILEPOST_TRUSTED_PROXIES": f"{PROXY}/32"}
    with Edge(DataDir.at(tmp_path_factory.mktemp("edge")), valkey.url, settings) as edge, ExitStack() as stack:
        filled(edge, stack, STRANGER, 512)
        with Connection(edge.port, source=STRANGER) as refused:
            assert refused.read().status == 503


ATTACKERS = [f"127.0.0.{number}" for number in range(2, 22)]
SLOW_PER_ADDRESS = 50
ATTACK_SECONDS = 12.0


class Attack:
    """A thousand connections from twenty addresses: half send a head byte by byte, half ask and do not read. Each is
    opened again as soon as the edge ends it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open = 0
        self.opened = 0
        self.complete = asyncio.Event()

    async def run(self) -> None:
        slow = [
            self._for_ever(address, dribbles=number % 2 == 0)
            for address in ATTACKERS
            for number in range(SLOW_PER_ADDRESS)
        ]
        await asyncio.gather(*slow)

    async def _for_ever(self, address: str, *, dribbles: bool) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client = socket.socket()
            try:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.setblocking(False)
                client.bind((address, 0))
                await loop.sock_connect(client, ("127.0.0.1", self.port))
                self.open += 1
                self.opened += 1
                if self.open >= len(ATTACKERS) * SLOW_PER_ADDRESS * 0.95:
                    self.complete.set()
                try:
                    await (self._dribble if dribbles else self._ask_only)(client)
                finally:
                    self.open -= 1
            except OSError:
                await asyncio.sleep(0.2)
            finally:
                client.close()

    async def _dribble(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for byte in itertools.chain(request()[:-2], itertools.cycle(b"X: y\r\n")):
            await loop.sock_sendall(client, bytes([byte]))
            await asyncio.sleep(0.5)

    async def _ask_only(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, request(LINK + b"?sub1=" + b"%3C" * 1_000) * 3)
        while True:
            await asyncio.sleep(3)
            await loop.sock_sendall(client, request())


class GoodClients:
    """Eight that ask on, one connection each, and four that open one for every click."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tried = 0
        self.served = 0

    async def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._ask(until, keeps=number < 8) for number in range(12)))

    async def _ask(self, until: float, *, keeps: bool) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while time.monotonic() < until:
            self.tried += 1
            try:
                async with asyncio.timeout(10):
                    if connection is None:
                        connection = await asyncio.open_connection("127.0.0.1", self.port)
                    reader, writer = connection
                    writer.write(request())
                    head = await reader.readuntil(b"\r\n\r\n")
                self.served += head.startswith(b"HTTP/1.1 302 ")
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                keeps_this = False
            else:
                keeps_this = keeps
            if connection is not None and not keeps_this:
                connection[1].close()
                with suppress(OSError):
                    await connection[1].wait_closed()
                connection = None
            await asyncio.sleep(0.02)
        if connection is not None:
            connection[1].close()
            await connection[1].wait_closed()


async def test_a_thousand_slow_connections_leave_good_clients_alone(
    valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"MILEPOST_TRUSTED_PROXIES": f"{PROXY}/32"}
    with Edge(DataDir.at(tmp_path_factory.mktemp("edge")), valkey.url, settings) as edge:
        attack, good = Attack(edge.port), GoodClients(edge.port)
        attacking = asyncio.create_task(attack.run())
        async with asyncio.timeout(15):
            await attack.complete.wait()
        await good.run(ATTACK_SECONDS)
        assert attack.open > len(ATTACKERS) * SLOW_PER_ADDRESS * 0.5, "the attack went on"
        assert attack.opened > len(ATTACKERS) * SLOW_PER_ADDRESS, "and was fought off"
        attacking.cancel()
        await asyncio.wait([attacking])
        assert good.tried > 500
        assert good.served >= good.tried * 0.999
        assert "Traceback" not in edge.log()
