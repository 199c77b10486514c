"""The same as chain.py with Kafka between the journal and ingest: edge → shipper → Kafka → ingest → Postgres → roll-ups.

The shipper runs all the time, so that ingest, once it is released, finds everything in Kafka.
"""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import chain
from benchmarks.field import Field
from benchmarks.kafka import running_broker
from benchmarks.machine import on_both
from benchmarks.marks import Findings
from benchmarks.parts import running_shipper
from tests.stack import running


def measure(field: Field) -> Findings:
    """Start a broker and the whole product, print the table; there is no mark for it."""
    with ExitStack() as stack:
        stack.enter_context(on_both())
        broker = stack.enter_context(running_broker())
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-"))
        data_dir = Path(folder) / "data"
        product = stack.enter_context(running(data_dir, KAFKA_BOOTSTRAP=broker.bootstrap))
        if not list((data_dir / "run").glob("ship*.pid")):
            stack.enter_context(running_shipper(data_dir, broker.bootstrap))
        asyncio.run(chain.drive(product, field, "Kafka to ingest"))
    return {}
