"""The connection that the process `milepost jobs` works on."""

from collections.abc import AsyncIterator

import pytest

from management.db.pool import SoleConnection, connect


@pytest.fixture
async def connection(ingest_url: str) -> AsyncIterator[SoleConnection]:
    connection = await connect(ingest_url, application="test jobs")
    yield connection
    connection.terminate()
