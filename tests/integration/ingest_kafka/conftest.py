"""`milepost ingest` processes that read from the test's broker, and a log to put events in."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from shared.ids import KeyRing
from tests.ingest_process import IngestProcess
from tests.integration.ingest_kafka.log import Log
from tests.kafka.broker import Broker

Start = Callable[..., IngestProcess]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data_dir: Path, database_url: str, ring: KeyRing, kafka: Broker) -> Iterator[Start]:
    """Starts `milepost ingest` on the test's broker and database; each in a data directory of its own, if one is
    named."""
    started: list[IngestProcess] = []

    def begin(name: str = "", *, url: str = database_url) -> IngestProcess:
        folder = data_dir / name
        started.append(IngestProcess.start(folder, url, ring, MILEPOST_KAFKA_BOOTSTRAP=kafka.bootstrap))
        return started[-1]

    yield begin
    for process in started:
        process.clean_up()


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def log(kafka: Broker) -> AsyncIterator[Log]:
    async with Log.of(kafka.bootstrap) as log:
        yield log
