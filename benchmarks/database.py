"""A migrated Postgres for one question, started as `milepost up` starts it (fsync on), on this folder's disk."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from management.db.migrate import migrate
from management.embedded.postgres import EmbeddedPostgres
from shared.data_dir import DataDir
from shared.ids import KeyRing

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = object

KEPT = frozenset(
    ("accounts", "users", "campaigns", "salts", "routing_version", "installation", "schema_migrations", "leases",
     "ingest_members", "dead_letter_allowance")
)  # fmt: skip
"""Tables that say who and what there is; all others are facts, or were made of facts."""
TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


@contextmanager
def database(ring: KeyRing) -> Iterator[str]:
    """A running server, until the block ends; its URL as the owner. Roles have their passwords from `ring`."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(DataDir.at(Path(folder)))
        url = asyncio.run(postgres.start())
        try:
            asyncio.run(migrate(url, ring))
            yield url
        finally:
            asyncio.run(postgres.stop())


async def emptied(owner: Connection) -> None:
    """No fact, no delta, no roll-up, and nothing of an earlier run left to be written."""
    names = {row["relname"] for row in await owner.fetch(TABLES)} - KEPT
    await owner.execute(f"TRUNCATE {', '.join(sorted(names))}")
    await owner.execute("CHECKPOINT")
