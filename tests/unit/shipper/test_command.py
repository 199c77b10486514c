"""Covers what surrounds the shipper: its command, its place in `milepost up`, its bound on log lines."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.shipper.quiet import LINES, limit
from management.embedded.parts import default_parts
from shared import env

COMMANDS = {"milepost": ("-m", "management.cli", "ship"), "python -m": ("-m", "edge.shipper")}


def run(tmp_path: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    environ |= {"MILEPOST_DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).resolve().parents[3])} | settings
    return subprocess.run(
        [sys.executable, *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_without_kafka_it_says_what_is_missing(tmp_path: Path, command: str) -> None:
    ended = run(tmp_path, *COMMANDS[command])
    assert ended.returncode == 2
    assert "MILEPOST_KAFKA_BOOTSTRAP: needed by `milepost ship`" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_its_help_teaches(tmp_path: Path, command: str) -> None:
    ended = run(tmp_path, *COMMANDS[command], "--help")
    assert ended.returncode == 0
    for word in ("MILEPOST_KAFKA_BOOTSTRAP", "run/ship.status", "ingest"):
        assert word in ended.stdout


def test_up_ships_only_with_a_kafka_and_ends_it_between_edge_and_ingest() -> None:
    without = {part.name for part in default_parts(env.load({}), 3)}
    parts = {part.name: part for part in default_parts(env.load({"MILEPOST_KAFKA_BOOTSTRAP": "localhost:9092"}), 3)}
    assert parts.keys() - without == {"ship"}
    assert parts["edge"].stop_stage < parts["ship"].stop_stage < parts["ingest"].stop_stage < parts["fold"].stop_stage
    assert parts["ship"].argv == (sys.executable, "-m", "edge.shipper")


def test_the_client_says_little_and_others_what_they_like(caplog: pytest.LogCaptureFixture) -> None:
    limit([caplog.handler], "chatterbox")
    try:
        for _ in range(1_000):
            logging.getLogger("chatterbox.conn").error("connection lost")
            logging.getLogger("chatterboxish").error("another one's")
    finally:
        caplog.handler.filters.clear()
    assert sum(record.name == "chatterbox.conn" for record in caplog.records) == LINES
    assert sum(record.name == "chatterboxish" for record in caplog.records) == 1_000
