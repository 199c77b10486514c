"""Covers the first promise over the whole chain: faults of every part under load, then answered = stored, exactly once;
with a real broker between edge and ingest, and without one.

Leaves to others: that the judge can fail (tests/unit/faults_judge), hours of it (`make soak-chain`), single parts' own
recovery (tests/integration), faults of the edge's disk (tests/faults/edge)."""

import subprocess
import sys

import pytest

from tests.stack import REPOSITORY

WITH_BROKER = (
    "kill edge worker", "kill shipper", "kill broker", "kill ingest", "kill fold", "kill Postgres",
    "freeze shipper", "freeze ingest in COPY", "restore Postgres", "fill the disk of Postgres", "wipe the broker",
    "poison 1 in 1,000", "two versions of events", "reorder streams", "replay the topic", "network delayed",
    "network swallows", "network swallows answers", "network half open",
)  # fmt: skip
WITHOUT = (
    "kill edge worker", "kill ingest", "kill fold", "kill Postgres", "kill Valkey", "restore Postgres",
    "poison 1 in 1,000",
)  # fmt: skip
LONGEST_SECONDS = 900
"""Far above what it takes, 4 minutes and less than one, on two cores with nothing else."""


@pytest.mark.parametrize(("mode", "faults"), [("kafka", WITH_BROKER), ("journal", WITHOUT)], ids=["kafka", "journal"])
def test_what_was_answered_is_stored_exactly_once_through_every_fault(mode: str, faults: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.faults.chain", "--mode", mode, "--seed", "20260102", "--rate", "120"]
    command += [word for name in faults for word in ("--only", name)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert ran.returncode == 0, ran.stdout[-12_000:] + ran.stderr[-4_000:]
    assert f"{len(faults)} faults" in ran.stdout
    assert "answered = stored, exactly once" in ran.stdout
