"""Covers that what is journaled is taken away by one only: an ingest that reads the journal does nothing beside a
shipper, and goes on once that is gone."""

import asyncio
from pathlib import Path

import asyncpg

from shared.data_dir import DataDir
from tests.ingest_builders import click, write_stream
from tests.ingest_process import Start, until_count
from tests.integration.shipper.harness import ShipperProcess
from tests.kafka.broker import Broker


async def test_an_ingest_waits_while_a_shipper_has_the_journal(
    start: Start, data_dir: Path, owner: asyncpg.Connection, kafka: Broker
) -> None:
    shipper = ShipperProcess.start(DataDir.at(data_dir), kafka.bootstrap)
    try:
        await shipper.until_said("kafka_reached")
        ingest = start()
        await ingest.until("ingest_interrupted")
        await write_stream(data_dir / "journal", [click(), click()])
        await shipper.until_shipped(2)
        await asyncio.sleep(0.5)
        assert await owner.fetchval("SELECT count(*) FROM clicks") == 0
        (line,) = [line for line in ingest.lines() if line["event"] == "ingest_interrupted"]
        assert line["error"].startswith("another process already takes away what is journaled in ")
        await shipper.stopped()
        await until_count(owner, "clicks", 2)
        assert ingest.said("ingest_goes_on") == 1
    finally:
        shipper.clean_up()
