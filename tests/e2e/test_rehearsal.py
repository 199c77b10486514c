"""Covers `milepost demo` and `milepost replay` against a running installation, as a user types them. Their parts:
tests/unit/rehearsal."""

import gzip
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack

LINE = (
    '81.2.69.{last} - - [17/May/2026:10:05:{second:02d} +0000] "{method} /page/{last} HTTP/1.1" 200 512'
    ' "https://news.example/" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"\n'
)


def milepost(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "management.cli", *arguments],
        cwd=stack.source,
        env={**stack.environment(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_demo_matches_what_it_sent(stack: Stack) -> None:
    result = milepost(stack, "demo", "--seed", "7", "--clicks", "400")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "match" in result.stdout


def test_replay_counts_every_get_line_once(stack: Stack, tmp_path: Path) -> None:
    log = tmp_path / "access.log.gz"
    lines = [LINE.format(last=number % 50 + 1, second=number % 60, method="GET") for number in range(120)]
    lines += [LINE.format(last=1, second=1, method="POST"), "no log line\n"]
    log.write_bytes(gzip.compress("".join(lines).encode()))
    result = milepost(stack, "replay", str(log))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "120" in result.stdout


def test_a_missing_log_is_one_sentence(stack: Stack, tmp_path: Path) -> None:
    result = milepost(stack, "replay", str(tmp_path / "none.log"))
    assert result.returncode == 1
    assert "none.log" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout


def test_all_bad_settings_are_named_at_once(stack: Stack) -> None:
    environ = {**stack.environment(), "MILEPOST_EDGE_PORT": "x", "MILEPOST_DURABILITY": "y", "MILEPOST_TYPO": "z"}
    result = subprocess.run(
        [sys.executable, "-m", "management.cli", "up"],
        cwd=stack.source,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    for name in ("MILEPOST_EDGE_PORT", "MILEPOST_DURABILITY", "MILEPOST_TYPO"):
        assert name in result.stderr
