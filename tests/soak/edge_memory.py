"""Does a worker's memory stay flat at full rate while nobody takes its events?

`python -m tests.soak.edge_memory --minutes 10`: the real edge without any ingest, as many clicks as it answers, each
with an agent, an address, parameters and a referrer never seen before, and a new connection every now and then. A line
every 10 s; at the end a verdict by exit status: 0 flat and complete, 1 not, 2 not to be run here.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.machine import CLIENT_CPU, SERVER_CPU, need_program, pin
from benchmarks.wrk import Outcome, read
from shared import events
from shared.data_dir import DataDir
from shared.journal import StreamReader, streams
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge, Valkey

CONNECTIONS: Final = 64
LINE_SECONDS: Final = 10.0
SAMPLE_SECONDS: Final = 1.0
WARM_SECONDS: Final = 120.0
"""By then every bounded memory of a worker is full: the largest holds 20,000 entries, which come in 10 s."""
LEAST_BYTES_A_CLICK: Final = 4
"""The bound. The least that Python can keep of a click is a slot in a list, 8 bytes: whoever keeps anything of every
other click is over it."""
GRAIN_MB: Final = 4.0
"""Growth below this shows nothing: the allocator takes and gives memory by the MB."""
BYTES_A_CLICK: Final = 1200
MOST_CLICKS_A_SECOND: Final = 8_000
MB: Final = 1e6

SCRIPT: Final = """
local n, seed = 0, 0
init = function(args) seed = tonumber(args[1]); math.randomseed(seed) end
local r = math.random
request = function()
  n = n + 1
  local mark = seed .. "-" .. n
  local headers = {
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:" .. r(60, 150) .. ".0) Gecko/20100101 Firefox/" .. r(60, 150)
      .. ".0 build/" .. mark .. string.rep("x", r(0, 300)),
    ["X-Forwarded-For"] = r(0, 1) == 0 and (r(1, 223) .. "." .. r(0, 255) .. "." .. r(0, 255) .. "." .. r(1, 254))
      or string.format("2001:db8:%x:%x::%x", r(0, 65535), r(0, 65535), r(1, 65535)),
    ["Accept-Language"] = "en-" .. mark,
    ["Referer"] = "https://news" .. n .. ".example/article/" .. mark .. "?id=7",
  }
  if n % 50 == 0 then headers["Connection"] = "close" end
  local query = "?sub1=" .. mark .. "&p" .. n .. "=" .. string.rep("y", r(0, 100)) .. "&gclid=" .. mark .. "&%ff=%00"
  return wrk.format(n % 100 == 0 and "HEAD" or "GET", wrk.path .. query, headers)
end
"""


@dataclass(frozen=True)
class Sample:
    """`anonymous` is what the worker itself holds, `resident` that and the pages of its libraries; bytes."""

    at: float
    resident: int
    anonymous: int


def sample(pid: int, began: float) -> Sample:
    found = dict(re.findall(r"(?m)^(VmRSS|RssAnon):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()))
    return Sample(time.monotonic() - began, int(found["VmRSS"]) * 1024, int(found["RssAnon"]) * 1024)


@contextmanager
def load(port: int, path: str, seconds: float, seed: int, printed: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """wrk under way on the client's processor; its report goes to `printed`."""
    script = printed.with_suffix(".lua")
    script.write_text(SCRIPT)
    command = [
        "taskset", "-c", str(CLIENT_CPU), need_program("wrk", "wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s",
        "--timeout", "10s", "-s", str(script), f"http://127.0.0.1:{port}{path}", "--", str(seed),
    ]  # fmt: skip
    with printed.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def journaled(data_dir: DataDir) -> int:
    """How many clicks a reader finds; ends the program when one is lost."""
    count = 0
    for path in streams(data_dir.journal):
        with StreamReader(path) as reader:
            while True:
                batch = reader.read(20_000, 1 << 24)
                if batch.gaps:
                    sys.exit(f"lost in the journal: {batch.gaps}")
                count += sum(1 for _, kind, _ in batch.records if kind == events.CLICK)
                if batch.finished or not batch.records:
                    break
    return count


def growth(samples: list[Sample], warm: float) -> tuple[float, float]:
    """Of what the worker holds once it is warm: bytes a second by a straight line, and MB over all that time."""
    seen = [found for found in samples if found.at >= warm]
    slope, _ = linear_regression([found.at for found in seen], [found.anonymous for found in seen])
    return slope, slope * (seen[-1].at - seen[0].at) / MB


def watch(
    console: Console, edge: Edge, workers: list[int], seconds: float, folder: Path
) -> tuple[list[list[Sample]], Outcome]:
    """Samples of each worker while the load runs, and what the load got."""
    samples: list[list[Sample]] = [[] for _ in workers]
    began = time.monotonic()
    said = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with (
        load(edge.port, f"/c/{rows.ACTIVE.uuid}", seconds, time.time_ns() % 1_000_000, folder / "wrk.txt") as process,
        Progress(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("full rate, no ingest", total=seconds)
        while process.poll() is None and time.monotonic() - began < seconds + 60:
            time.sleep(SAMPLE_SECONDS)
            for of_worker, pid in zip(samples, workers, strict=True):
                of_worker.append(sample(pid, began))
            at = samples[0][-1].at
            bar.update(task, completed=at)
            if at - said >= LINE_SECONDS:
                said = at
                held = "   ".join(f"{w[-1].resident / MB:6.1f} ({w[-1].anonymous / MB:5.1f} its own)" for w in samples)
                console.print(f"{at:5.0f} s   resident MB a worker: {held}")
        assert process.wait(60) == 0, (folder / "wrk.txt").read_text()
    return samples, read((folder / "wrk.txt").read_text())


def soak(console: Console, minutes: float, workers: int, folder: Path) -> bool:
    """Whether memory stayed flat and every answered click is in the journal."""
    seconds = minutes * 60
    valkey = Valkey(folder)
    valkey.start()
    try:
        valkey.seed(1, [rows.ACTIVE])
        settings = {"MILEPOST_JOURNAL_MAX": "1 TiB", "MILEPOST_EDGE_WORKERS": str(workers)}
        (folder / "edge").mkdir()
        with Edge(DataDir.at(folder / "edge"), valkey.url, settings) as edge:
            pids = [edge.worker_pid(index) for index in range(workers)]
            for pid in pids:
                pin(pid, (SERVER_CPU,))
            samples, outcome = watch(console, edge, pids, seconds, folder)
            alive = [edge.worker_pid(index) for index in range(workers)] == pids
            ended = edge.stop()
        stored = journaled(edge.data_dir)
    finally:
        valkey.kill()

    rate = outcome.answers / outcome.seconds
    bound = LEAST_BYTES_A_CLICK * rate / workers
    warm = min(WARM_SECONDS, seconds / 2)
    flat = True
    for index, of_worker in enumerate(samples):
        slope, grown = growth(of_worker, warm)
        flat &= slope <= bound or grown <= GRAIN_MB
        console.print(
            f"worker {index}: {slope * 60 / MB:+.2f} MB a minute from second {warm:.0f} on, {grown:+.1f} MB in all; at"
            f" most {bound * 60 / MB:.2f}, {LEAST_BYTES_A_CLICK} bytes a click, or {GRAIN_MB:.0f} MB in all"
        )
    # An answer that was on its way when the load ended is in the journal and was not counted there.
    complete = 0 <= stored - outcome.answers <= CONNECTIONS and not outcome.bad and not outcome.errors
    console.print(
        f"{outcome.answers} answered ({rate:.0f} a second, {outcome.bad} refused, {outcome.errors} socket errors),"
        f" {stored} journaled, at most {CONNECTIONS} on their way at the end"
    )
    if not alive or ended != 0:
        console.print(f"a worker ended before its time, or the edge not in order (status {ended})")
    console.print("flat and complete" if flat and complete else "NOT FLAT" if complete else "NOT COMPLETE")
    return flat and complete and alive and ended == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the journal goes meanwhile (a temporary one)")
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    need_program("wrk", "wrk")
    folder = Path(tempfile.mkdtemp(prefix="milepost-soak-", dir=options.folder))
    try:
        # The journal stops once less is free than twice its size.
        need = 3 * BYTES_A_CLICK * MOST_CLICKS_A_SECOND * options.minutes * 60 * options.workers + (2 << 30)
        if shutil.disk_usage(folder).free < need:
            console.print(
                f"{folder} needs {need / 1e9:.0f} GB free for {options.minutes:g} minutes: give another --folder"
            )
            return 2
        return 0 if soak(console, options.minutes, options.workers, folder) else 1
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
