"""The parts of the system under test: their names, how they are started, in which order they end."""

import os
from collections.abc import Mapping
from typing import Final, Literal

from tests.stack import REPOSITORY

Mode = Literal["journal", "kafka"]
WORKERS: Final = ("edge-0", "edge-1")
INGESTS: Final = ("ingest-0", "ingest-1")
STAGES: Final = {
    "edge": 0,
    "shipper": 1,
    "jobs": 1,
    "ingest-0": 2,
    "ingest-1": 2,
    "fold": 3,
    "valkey": 100,
    "postgres": 101,
}
"""Parts of a lower stage have ended before those of a higher one are asked to."""
_CLI: Final = "management.cli"


def commands(mode: Mode) -> list[tuple[str, tuple[str, ...]]]:
    """Part → what follows `python -m`, in the order of the start."""
    shipper = [("shipper", (_CLI, "ship"))] if mode == "kafka" else []
    ingests = [(name, (_CLI, "ingest")) for name in INGESTS]
    return [("jobs", (_CLI, "jobs")), ("edge", (_CLI, "edge")), *shipper, *ingests, ("fold", (_CLI, "fold"))]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a part sees: these settings, named without their prefix, and none of the developer's own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    named = {f"MILEPOST_{name}": value for name, value in settings.items()}
    return {**inherited, "PYTHONPATH": str(REPOSITORY), **named}
