"""The peer of storage.py: COPY, INSERT and a roll-up, with nothing that makes storing exact."""

import secrets
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Final

from benchmarks.database import Connection
from management.ingest.decode import CLICK_COLUMNS, decode
from shared.events import CLICK

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"
TABLES = """
CREATE TABLE peer_clicks (LIKE clicks INCLUDING DEFAULTS, PRIMARY KEY (account_id, ts, click_id));
CREATE TABLE indexed_peer_clicks (LIKE clicks INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE TABLE peer_rollup (
    account_id integer, campaign_id integer, bucket timestamptz, class smallint, clicks bigint, cost numeric,
    PRIMARY KEY (account_id, campaign_id, bucket, class)
);
GRANT ALL ON peer_clicks, indexed_peer_clicks, peer_rollup TO milepost_ingest;
"""
INCOMING = "CREATE TEMPORARY TABLE peer_incoming (LIKE peer_clicks) ON COMMIT DELETE ROWS"
ONE_INDEX, OUR_INDEXES = "peer_clicks", "indexed_peer_clicks"
INSERT = "INSERT INTO {table} SELECT * FROM peer_incoming ON CONFLICT DO NOTHING"
ROLL_UP = """
INSERT INTO peer_rollup
SELECT account_id, campaign_id, date_bin('15 minutes', ts, 'epoch'), class, count(*), sum(cost)
FROM peer_incoming GROUP BY 1, 2, 3, 4
ON CONFLICT (account_id, campaign_id, bucket, class) DO UPDATE
SET clicks = peer_rollup.clicks + excluded.clicks, cost = peer_rollup.cost + excluded.cost
"""


def parts(payloads: Sequence[bytes], size: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Runs of at most `size`, each with the seq of its first."""
    for first in range(0, len(payloads), size):
        yield first + 1, payloads[first : first + size]


def copies(payloads: Sequence[bytes], size: int) -> list[bytes]:
    """The rows of the clicks as the bodies of binary COPYs."""
    stream = secrets.token_bytes(16)
    return [
        COPY_HEADER
        + b"".join(decode(stream, seq, CLICK, one).row for seq, one in enumerate(some, first))
        + COPY_TRAILER
        for first, some in parts(payloads, size)
    ]


async def prepare(connection: Connection) -> None:
    """Make the session's temporary table, with as much memory as the writer takes for its own."""
    await connection.execute("SET temp_buffers = '32MB'")
    await connection.execute(INCOMING)


async def store(connection: Connection, table: str, bodies: Sequence[bytes]) -> None:
    """One transaction each."""
    insert = INSERT.format(table=table)
    for body in bodies:
        async with connection.transaction():
            await connection.copy_to_table(
                "peer_incoming", source=BytesIO(body), columns=CLICK_COLUMNS, format="binary"
            )
            await connection.execute(insert)
            await connection.execute(ROLL_UP)
