"""Fixtures of the dead letters' tests: the owner's connection, and the command line as typed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from shared.ids import KeyRing
from tests.ingest_process import REPOSITORY


@dataclass(frozen=True)
class Milepost:
    """The command line on one data directory and database."""

    environ: dict[str, str]

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "management.cli", *arguments],
            env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    async def __call__(self, *arguments: str, status: int = 0) -> str:
        """What it printed, standard error behind standard output; it ended with `status` and without a traceback."""
        process = self.started(*arguments)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == status, out + err
        assert "Traceback" not in err
        return out + err


@pytest.fixture
def environ(data_dir: Path, database_url: str, ring: KeyRing) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return inherited | {
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": "200",
        "MILEPOST_DATA_DIR": str(data_dir),
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_SECRET_KEYS": ring.to_text(),
    }


@pytest.fixture
def milepost(environ: dict[str, str]) -> Milepost:
    return Milepost(environ)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()
