"""`python -m edge.shipper`: ships what this machine's edge journals to Kafka, until SIGTERM or SIGINT.

Exit status: 0 asked to stop, 2 bad settings, 1 for anything else.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys

import structlog
import uvloop

from edge.shipper.quiet import limit
from edge.shipper.ship import Shipper
from shared import env, log
from shared.data_dir import DataDir
from shared.env import Settings, SettingsError
from shared.garbage import collect_rarely
from shared.journal import Claimed, claimed

_DESCRIPTION = """\
Ships what the edge of this machine journals (MILEPOST_DATA_DIR) to Kafka (MILEPOST_KAFKA_BOOTSTRAP), in order, each
stream to one partition; `milepost ingest` stores it from there. Makes the topics milepost.events and milepost.consumed
when they are missing. Sends again only what Kafka lost or ingest passed over. Deletes segments that ingest stored,
MILEPOST_JOURNAL_KEEP later. One shipper a data directory; its figures are in run/ship.status.
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="milepost ship", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    try:
        settings = env.load(os.environ)
        if settings.kafka_bootstrap is None:
            raise SettingsError((f"{env.PREFIX}KAFKA_BOOTSTRAP: needed by `milepost ship`, such as localhost:9092",))
    except SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 2
    log.configure("ship")
    limit(logging.getLogger().handlers, "aiokafka")
    try:
        with claimed(DataDir.at(settings.data_dir).journal):
            uvloop.run(_ship(settings))
    except (Claimed, OSError) as error:
        structlog.get_logger().error("cannot_ship", error=str(error))
        return 1
    return 0


async def _ship(settings: Settings) -> None:
    collect_rarely()
    shipper = Shipper(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, shipper.stop.set)
    await shipper.run()


if __name__ == "__main__":
    sys.exit(main())
