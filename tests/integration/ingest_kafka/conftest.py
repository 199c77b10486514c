"""`milepost ingest` processes that read from the test's broker, and a log to put events in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.ids import KeyRing
from tests.ingest_process import Start, ingests
from tests.integration.ingest_kafka.log import Log
from tests.kafka.broker import Broker


@pytest.fixture
def start(data_dir: Path, database_url: str, ring: KeyRing, kafka: Broker) -> Iterator[Start]:
    """Starts `milepost ingest` on the test's broker and database; each in a data directory of its own, if one is
    named."""
    with ingests(data_dir, database_url, ring, MILEPOST_KAFKA_BOOTSTRAP=kafka.bootstrap) as start:
        yield start


@pytest.fixture
async def log(kafka: Broker) -> AsyncIterator[Log]:
    async with Log.of(kafka.bootstrap) as log:
        yield log
