"""Covers `deploy/kafka/up` and `down`, what `make kafka` is made of: safe to repeat, clear when they cannot."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import SCRIPTS, is_gone
from tests.kafka.ports import PortBlock

SECONDS = 120
PROGRAMS = (
    "sh",
    "sed",
    "tr",
    "grep",
    "cat",
    "head",
    "tail",
    "mkdir",
    "rm",
    "cmp",
    "dirname",
    "flock",
    "setsid",
    "python3",
)


def run(script: str, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(SCRIPTS / script), *map(str, words)]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=SECONDS
    )


@pytest.fixture
def port() -> Iterator[int]:
    block = PortBlock()
    yield block.first
    block.release()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a broker may run, with a blank in its name; stopped afterwards."""
    folder = tmp_path / "a folder"
    yield folder
    run("down", folder, 1)


def pid_in(folder: Path) -> int:
    return int((folder / "kafka.pid").read_text())


def test_up_and_down_again_and_again(folder: Path, port: int) -> None:
    first = run("up", folder, port)
    assert (first.returncode, first.stderr) == (0, "")
    pid = pid_in(folder)
    assert run("up", folder, port).returncode == 0
    assert pid_in(folder) == pid, "a second broker was started"
    elsewhere = run("up", folder, port + 2)
    assert elsewhere.returncode == 1
    assert elsewhere.stderr == f"A broker already runs from {folder}, on port {port}.\n"

    for _ in range(2):
        assert run("down", folder).returncode == 0
    assert is_gone(pid)
    assert not (folder / "kafka.pid").exists()


def test_a_pid_that_belongs_to_another_program_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (folder / "kafka.pid").write_text(str(stranger.pid))
        assert run("down", folder).returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_another_program_holds_is_named(folder: Path, port: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        said = run("up", folder, port)
    assert said.returncode == 3
    assert f"Port {port} or {port + 1} is taken by another program; choose one with KAFKA_PORT=.\n" in said.stderr
    assert not (folder / "kafka.pid").exists()


@pytest.mark.parametrize(("missing", "package"), [("java", "default-jre-headless"), ("mvn", "maven")])
def test_what_is_missing_is_named_in_one_sentence(folder: Path, tmp_path: Path, missing: str, package: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in {*PROGRAMS, "java", "mvn"} - {missing}:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    scripts = tmp_path / "kafka"  # a copy that has no jars yet
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("lib"))
    said = subprocess.run(
        ["sh", str(scripts / "up"), str(folder), "29999"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert said.returncode == 1
    (sentence,) = said.stderr.splitlines()
    assert f"there is no {missing}: install it (Debian: apt-get install {package})." in sentence
