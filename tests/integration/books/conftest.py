"""A writer as milepost_ingest."""

from collections.abc import AsyncIterator

import pytest

from management.db.lease import Lease
from management.db.pool import SoleConnection, connect
from management.ingest.sources import announcements
from management.ingest.writer import Writer


@pytest.fixture
async def connection(ingest_url: str) -> AsyncIterator[SoleConnection]:
    connection = await connect(ingest_url, application="test books")
    yield connection
    connection.terminate()


@pytest.fixture
async def writer(ingest_url: str) -> AsyncIterator[Writer]:
    connection = await connect(ingest_url, application="test ingest")
    yield await Writer.open(connection, await Lease.take(connection, "ingest"))
    connection.terminate()


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What writers announce is looked at in every round."""
    monkeypatch.setattr(announcements, "TELL_SECONDS", 0.0)
