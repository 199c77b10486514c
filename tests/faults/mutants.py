"""`make mutants`: takes each mechanism of the first two promises out of a copy of the sources and shows that its test
then fails. A mutant that survives is a promise nobody keeps; the command ends with status 1."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILL = ("tests/faults/test_kill.py", "-k", "fsync")
FOLDERS = ("edge", "management", "shared", "tests")
SECONDS = 400


@dataclass(frozen=True)
class Mutant:
    """One edit of one file; `old` must stand there exactly once."""

    name: str
    file: str
    old: str
    new: str
    test: tuple[str, ...] = KILL


MUTANTS = (
    Mutant(
        "answers do not wait for the journal",
        "shared/journal/writer.py",
        "        self._waiters.append(done)\n",
        "        self._loop.call_soon(done, None)\n        self._waiters.append(lambda refusal: None)\n",
    ),
    Mutant(
        "answers do not wait for the sync",
        "shared/journal/segment.py",
        "        os.fdatasync(self.fd)\n",
        "        os.fstat(self.fd)\n",
        ("tests/faults/edge/test_sync_before_answer.py",),
    ),
    Mutant(
        "losses are answered and not declared",
        "shared/journal/open_stream.py",
        "            self._losses.write(group.losses)\n",
        "            self._losses.write(max(group.losses - 1, 0))\n",
        ("tests/faults/edge/test_disk.py",),
    ),
    Mutant(
        "connections are closed at once when a worker ends",
        "edge/protocol.py",
        "        self._parting = True\n",
        "        self.transport.close()\n",
        ("tests/faults/edge/test_restart.py",),
    ),
    Mutant(
        "nobody looks after deadlines",
        "edge/connections.py",
        "                connection.look_after(tick)\n",
        "                del connection\n",
        ("tests/integration/edge/hostile/test_deadlines.py",),
    ),
    Mutant(
        "click ids are not unique in Postgres",
        "management/db/migrations/0002_events.sql",
        "    PRIMARY KEY (account_id, ts, click_id)\n) PARTITION",
        "    CHECK (cost >= 0)\n) PARTITION",
    ),
    Mutant(
        "positions move without compare-and-set",
        "management/ingest/writer.sql",
        " AND position.next = moves.expected",
        "",
    ),
)


def run(source: Path, test: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The test with the sources at `source`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-x", *test]
    return subprocess.run(
        command,
        cwd=source,
        env={**environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def main() -> int:
    """Exit status: 0 when the test passes as it is and fails for every mutant."""
    survivors = 0
    for mutant in (None, *MUTANTS):
        with tempfile.TemporaryDirectory(prefix="milepost-mutant-") as folder:
            source = Path(folder)
            for name in FOLDERS:
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "pyproject.toml", source)
            if mutant is not None:
                path = source / mutant.file
                text = path.read_text()
                if text.count(mutant.old) != 1:
                    sys.exit(f"{mutant.file} no longer holds what the mutant {mutant.name!r} takes out")
                path.write_text(text.replace(mutant.old, mutant.new))
            result = run(source, KILL if mutant is None else mutant.test)
        passed = result.returncode == 0
        wanted = mutant is None
        survivors += passed != wanted
        name = "unchanged" if mutant is None else mutant.name
        reason = next((line for line in result.stdout.splitlines() if line.startswith("E  ")), "").strip()
        sys.stdout.write(f"{'as it should' if passed == wanted else 'WRONG'}: {name}: ")
        sys.stdout.write(f"{'passes' if passed else 'fails'} {reason[:200]}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
