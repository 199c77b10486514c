"""Covers the tests' TCP proxy: each fault does what it says, to open connections and new ones, and heals."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
from aiokafka import AIOKafkaProducer

from shared.topics import EVENTS_TOPIC
from tests.integration.edge.harness import await_true
from tests.kafka.broker import Broker
from tests.kafka.proxy import Fault, Proxy
from tests.kafka.topics import everything

SILENCE_SECONDS = 0.3
SOON = 5.0


class Peer:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, word: bytes) -> bytes:
        """Send and wait for as many bytes; raises what the connection does."""
        self.writer.write(word)
        async with asyncio.timeout(SOON):
            return await self.reader.readexactly(len(word))

    async def hears_nothing(self) -> bool:
        reading = asyncio.create_task(self.reader.read(1))
        done, _ = await asyncio.wait({reading}, timeout=SILENCE_SECONDS)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return not done

    async def is_reset(self) -> bool:
        try:
            async with asyncio.timeout(SOON):
                await self.reader.read(1)
        except ConnectionResetError:
            return True
        return False


Connect = Callable[[], Awaitable[Peer]]


class Echo:
    """The far side: says everything back, and keeps what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost = 0
        self.open: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            with suppress(ConnectionResetError):
                while word := await reader.read(1 << 16):
                    self.heard += word
                    writer.write(word)
        finally:
            self.lost += 1
            self.open.discard(task)
            writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def far_side(echo: Echo) -> AsyncIterator[int]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    if echo.open:
        await asyncio.wait(echo.open, timeout=SOON)


@pytest.fixture
def proxy(far_side: int) -> Iterator[Proxy]:
    with Proxy(far_side) as proxy:
        yield proxy


@pytest.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    peers: list[Peer] = []

    async def connect() -> Peer:
        peers.append(Peer(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return peers[-1]

    yield connect
    for peer in peers:
        peer.writer.close()


async def test_without_a_fault_everything_passes(proxy: Proxy, connect: Connect) -> None:
    peer = await connect()
    assert await peer.ask(b"hello") == b"hello"
    assert proxy.connections == 1
    peer.writer.close()


async def test_a_client_that_leaves_is_forgotten_on_both_sides(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    peer = await connect()
    await peer.ask(b"hello")
    peer.writer.close()
    await asyncio.to_thread(await_true, lambda: echo.lost and not proxy.connections, "both sides are gone", SOON)


async def test_delay_holds_back_both_directions(proxy: Proxy, connect: Connect) -> None:
    peer = await connect()
    proxy.delay(0.2)
    begun = time.monotonic()
    await peer.ask(b"slow")
    assert time.monotonic() - begun >= 0.4
    proxy.heal()
    begun = time.monotonic()
    await peer.ask(b"fast")
    assert time.monotonic() - begun < 0.2


async def test_reset_hits_open_connections_only(proxy: Proxy, connect: Connect) -> None:
    peer = await connect()
    await peer.ask(b"hello")
    proxy.reset()
    assert await peer.is_reset()
    assert await (await connect()).ask(b"again") == b"again"


async def test_refuse_resets_new_connections_too(proxy: Proxy, connect: Connect) -> None:
    peer = await connect()
    await peer.ask(b"hello")
    proxy.set(Fault.REFUSE)
    assert await peer.is_reset()
    with pytest.raises(ConnectionResetError):
        await (await connect()).ask(b"hello")
    proxy.heal()
    assert await (await connect()).ask(b"again") == b"again"


async def test_a_stall_loses_nothing(proxy: Proxy, connect: Connect) -> None:
    peer = await connect()
    proxy.set(Fault.STALL)
    peer.writer.write(b"later")
    assert await peer.hears_nothing()
    proxy.heal()
    async with asyncio.timeout(SOON):
        assert await peer.reader.readexactly(5) == b"later"


async def test_a_black_hole_accepts_and_swallows(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    before = await connect()
    await before.ask(b"hello")
    proxy.set(Fault.BLACK_HOLE)
    after = await connect()
    for peer in (before, after):
        peer.writer.write(b"lost")
        assert await peer.hears_nothing()
    assert echo.heard == b"hello"
    proxy.heal()
    assert await before.is_reset()
    assert await after.is_reset()
    assert await (await connect()).ask(b"again") == b"again"


async def test_lost_answers_are_the_only_thing_lost(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    peer = await connect()
    proxy.set(Fault.LOSE_ANSWERS)
    peer.writer.write(b"stored")
    assert await peer.hears_nothing()
    peer.writer.write(b" twice")
    assert await peer.hears_nothing()
    assert echo.heard == b"stored twice"
    proxy.heal()
    assert await peer.is_reset()


async def test_half_open_hides_the_end_of_the_far_side(proxy: Proxy, connect: Connect, echo: Echo) -> None:
    peer = await connect()
    await peer.ask(b"hello")
    proxy.half_open()
    peer.writer.write(b"anyone?")
    assert await peer.hears_nothing()
    assert (echo.lost, echo.heard) == (1, b"hello")
    assert await (await connect()).ask(b"again") == b"again"
    proxy.heal()
    assert await peer.is_reset()


async def test_a_kafka_client_stays_behind_the_proxy(kafka: Broker) -> None:
    """The broker names the proxy's address to those that come through it, so that a fault reaches every request."""
    with kafka.proxy() as proxy:
        producer = AIOKafkaProducer(bootstrap_servers=proxy.address, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            await producer.send_and_wait(EVENTS_TOPIC, b"first", partition=0)
            proxy.set(Fault.LOSE_ANSWERS)
            second = await producer.send(EVENTS_TOPIC, b"second", partition=0)
            done, _ = await asyncio.wait({second}, timeout=1.0)
            assert not done
            assert [record.value for record in await everything(kafka.bootstrap, EVENTS_TOPIC)] == [b"first", b"second"]
            proxy.heal()
            async with asyncio.timeout(30):
                assert (await second).offset == 1
        finally:
            await producer.stop()
    assert len(await everything(kafka.bootstrap, EVENTS_TOPIC)) == 2
