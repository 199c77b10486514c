"""`python -m tests.faults.chain`: faults upon the whole chain under load, then answered = stored, exactly once.

    --mode kafka|journal --faults 200 --clicks 1000000 --seed 7

Runs until so many faults are survived and so many clicks answered, prints a line a fault and a verdict, and ends with
status 0 only when nothing is missing, doubled, spurious, corrupted or wrongly summed, and the run proved something:
requests were in flight at every fault, records were met twice, records were sent twice.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.faults.chain.broker import ProxiedBroker
from tests.faults.chain.disk import Disk
from tests.faults.chain.faults import faults_of
from tests.faults.chain.run import Options, run
from tests.faults.chain.system import System

_IN_NAMESPACE: Final = "_CHAIN_NAMESPACE"
_DISK_BYTES: Final = 512 << 20
_BYTES_A_CLICK: Final = 4_000


def options_of(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mode", choices=("kafka", "journal"), default="kafka")
    parser.add_argument("--faults", type=int, help="how many; not given: one of each")
    parser.add_argument("--only", action="append", default=[], help="a fault by name; may be given several times")
    parser.add_argument("--clicks", type=int, default=0, help="at least so many answered clicks")
    parser.add_argument("--rate", type=float, default=200.0, help="clicks a second")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all parts")
    parser.add_argument("--keep", action="store_true", help="leave the folder with all logs and data")
    return Options(**vars(parser.parse_args(arguments)))


def enter_namespace() -> None:
    """Start again where file systems can be mounted that nobody else sees."""
    # As another user than root the namespace comes with one of users, in which this user may mount.
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--mount", sys.executable, "-m", "tests.faults.chain", *sys.argv[1:]]
    os.execvpe("unshare", command, {**os.environ, _IN_NAMESPACE: "1"})


def main() -> int:
    options = options_of(sys.argv[1:])
    names = {fault.name for fault in faults_of(options.mode)}
    if unknown := [name for name in options.only if name not in names]:
        sys.exit(f"no such fault: {', '.join(unknown)}; there are: {', '.join(sorted(names))}")
    if os.environ.pop(_IN_NAMESPACE, "") != "1":
        enter_namespace()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything started here is stopped
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="milepost-chain-"))
    folder.chmod(0o711)  # Postgres may run as another user
    right = False
    try:
        with ExitStack() as stack:
            broker = stack.enter_context(ProxiedBroker(folder / "broker")) if options.mode == "kafka" else None
            disk = Disk(folder / "disk", _DISK_BYTES + options.clicks * _BYTES_A_CLICK)
            stack.callback(disk.close)
            system = System(folder, disk, broker, dict(one.split("=", 1) for one in options.set))
            right = asyncio.run(run(system, options, console))
            return 0 if right else 1
    finally:
        if options.keep or not right:
            console.print(f"logs, ledgers and journals are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
