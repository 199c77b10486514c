"""A data directory with a journal, and shippers that are ended with the test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from shared.data_dir import DataDir
from tests.integration.shipper.harness import ShipperProcess, Streams
from tests.kafka.broker import Broker

Start = Callable[..., ShipperProcess]
Shipped = Callable[[Broker, int], Awaitable[tuple[bytes, ShipperProcess]]]


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir.at(tmp_path / "data")


@pytest.fixture
async def streams(data_dir: DataDir) -> AsyncIterator[Streams]:
    """An empty journal; its writers live in the test."""
    streams = Streams(data_dir)
    yield streams
    await streams.close()


@pytest.fixture
def shipper(data_dir: DataDir) -> Iterator[Start]:
    """Starts a shipper: `shipper(bootstrap, JOURNAL_KEEP="0s")`."""
    started: list[ShipperProcess] = []

    def start(bootstrap: str, **changes: str) -> ShipperProcess:
        started.append(ShipperProcess.start(data_dir, bootstrap, **changes))
        return started[-1]

    yield start
    for process in started:
        process.clean_up()


@pytest.fixture
def shipped(streams: Streams, shipper: Start) -> Shipped:
    """A living stream of so many records, and a shipper that has sent them all: `await shipped(kafka, 100)`."""

    async def ship(broker: Broker, records: int) -> tuple[bytes, ShipperProcess]:
        stream = await streams.holding(records)
        process = shipper(broker.bootstrap)
        await process.until_shipped(records)
        return stream, process

    return ship
