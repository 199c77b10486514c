"""Single parts of the product as the processes that an operator starts, for questions that need not all of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.servers import NotStarted, await_true
from shared.data_dir import DataDir

END_SECONDS = 60


@contextmanager
def running_part(words: str, data_dir: Path, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -m …words…` until the block ends; settings without their prefix. What it logs is in `data_dir`/logs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    given = {f"MILEPOST_{name}": value for name, value in settings.items()}
    folder = DataDir.at(data_dir).logs
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{words.rpartition(' ')[2]}-{len(list(folder.iterdir()))}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words.split()],
            env={**inherited, **given, "MILEPOST_DATA_DIR": str(data_dir)},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(END_SECONDS)


@contextmanager
def running_shipper(data_dir: Path, bootstrap: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A shipper that has met the broker, until the block ends."""
    status = DataDir.at(data_dir).ship_status

    def met() -> bool:
        if process.poll() is not None:
            raise NotStarted(f"the shipper ended with status {process.returncode}")
        return status.exists() and b'"kafka":"reached"' in status.read_bytes()

    with running_part("edge.shipper", data_dir, KAFKA_BOOTSTRAP=bootstrap) as process:
        await_true(met, "the shipper")
        yield process
