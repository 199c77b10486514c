"""How much of bare uvicorn's speed is left when the click is classified, journaled and on disk before the redirect?

One core for the server, one for wrk; 64 keep-alive connections; shuffled rounds of bare uvicorn, the edge with
durability fsync and the edge with durability os in one run; medians and their spread.
"""

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.wrk import SERVER_CPU, drive, pin
from tests.stack import Stack, answers, free_ports

ROUNDS = 5
SECONDS = 4
WARM_UP_SECONDS = 2


def wait_answers(port: int, path: str) -> None:
    deadline = time.monotonic() + 20
    while not answers(port, path):
        if time.monotonic() > deadline:
            sys.exit(f"nothing answers on port {port}")
        time.sleep(0.05)


class OsEdge:
    """A second edge over the same campaigns with durability os, on a data directory of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.port, self.admin = free_ports(2)
        (folder / "secrets").mkdir(parents=True, mode=0o700)
        shutil.copy(stack.data_dir / "secrets" / "keys", folder / "secrets" / "keys")
        shutil.copy(stack.data_dir / "routing.json", folder / "routing.json")
        settings = {
            "MILEPOST_DATA_DIR": str(folder),
            "MILEPOST_EDGE_PORT": str(self.port),
            "MILEPOST_EDGE_ADMIN_PORT": str(self.admin),
            "MILEPOST_DURABILITY": "os",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge"], env={**inherited, **settings}, stderr=subprocess.DEVNULL
        )
        wait_answers(self.admin, "/readyz")
        self.worker = int((folder / "run" / "edge-0.pid").read_text())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def measure(stack: Stack, uuid: str, folder: Path) -> None:
    """Print the table; the main edge's clicks stay in its journal."""
    with ExitStack() as cleanup:
        (bare_port,) = free_ports(1)
        bare = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_uvicorn", str(bare_port)])
        cleanup.callback(bare.wait, 20)
        cleanup.callback(bare.terminate)
        wait_listens(bare_port)
        second = OsEdge(stack, folder)
        cleanup.callback(second.stop)
        servers = {
            "bare uvicorn 302": (bare.pid, f"http://127.0.0.1:{bare_port}/c/{uuid}"),
            "edge, fsync": (stack.pid("edge-0"), f"{stack.edge_url}/c/{uuid}"),
            "edge, os": (second.worker, f"http://127.0.0.1:{second.port}/c/{uuid}"),
        }
        for pid, url in servers.values():
            pin(pid, SERVER_CPU)
            drive(url, WARM_UP_SECONDS)
            pin(pid, SERVER_CPU)
        rates: dict[str, list[float]] = {name: [] for name in servers}
        ratios: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(ROUNDS):
            this_round = {}
            for name in random.sample(sorted(servers), len(servers)):
                run = drive(servers[name][1], SECONDS)
                if run.bad or run.errors:
                    sys.exit(f"{name}: {run.bad} refused answers, {run.errors} socket errors")
                this_round[name] = run.rate
            for name, rate in this_round.items():
                rates[name].append(rate)
                ratios[name].append(rate / this_round["bare uvicorn 302"])
        print(f"\nEdge, answers a second on one core, {ROUNDS} shuffled rounds of {SECONDS} s, 64 connections")
        print(f"  {'':<18} {'median':>8} {'min':>8} {'max':>8}   ratio to bare uvicorn (min … max)")
        for name, values in rates.items():
            ratio = ratios[name]
            print(
                f"  {name:<18} {statistics.median(values):>8.0f} {min(values):>8.0f} {max(values):>8.0f}"
                f"   {statistics.median(ratio):.2f} ({min(ratio):.2f} … {max(ratio):.2f})"
            )


def wait_listens(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"nothing listens on port {port}")
