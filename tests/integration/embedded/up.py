"""`milepost up` with the programs of `part` as its parts: what `Life` starts.

Everything else is the real thing: settings, lock, ports, Postgres, Valkey, first start, restarts, stop.
"""

import os
import sys
from collections.abc import Awaitable, Sequence

import asyncpg

from management.embedded.parts import Part, answers_ok
from management.embedded.supervisor import run
from shared.env import Settings, load

PROGRAM = (sys.executable, "-m", "tests.integration.embedded.part")


def parts(settings: Settings, listener: int) -> Sequence[Part]:
    def ready() -> Awaitable[bool]:
        return answers_ok("127.0.0.1", settings.edge_admin_port, "/readyz", "localhost")

    edge = (*PROGRAM, "edge", str(listener), str(settings.edge_admin_port))
    return (
        Part("edge", edge, stop_stage=0, stop_seconds=20.0, ready=ready, listener=listener),
        Part("ingest", (*PROGRAM, "ingest"), stop_stage=2, stop_seconds=20.0),
        Part("jobs", (*PROGRAM, "jobs"), stop_stage=1, stop_seconds=20.0),
    )


async def first_start(settings: Settings) -> str | None:
    connection = await asyncpg.connect(settings.database_url)
    try:
        await connection.execute("create table owner (email text)")
    except asyncpg.DuplicateTableError:
        return None
    finally:
        await connection.close()
    return "owner@example.com  correct-horse"


async def findings(settings: Settings) -> Sequence[str]:
    connection = await asyncpg.connect(settings.database_url)
    version = await connection.fetchval("show server_version_num")
    await connection.close()
    return [f"Postgres {version[:2]} is what this runs on"]


if __name__ == "__main__":
    sys.exit(run(load(os.environ), first_start, parts, (*PROGRAM, "migrate"), findings))
