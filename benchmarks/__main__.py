"""`make bench`: every question of this folder, each figure beside its peers from the same run, and the marks."""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import marks
from benchmarks.field import Field
from benchmarks.machine import CLIENT_CPU, Missing, Watch, need_program, need_two_processors
from benchmarks.rounds import FULL, QUICK, Scale
from benchmarks.servers import Server, Servers

EDGE = ("edge-capacity", "edge-latency", "edge-tables", "edge-agents", "edge-workers", "edge-cpu")
BEHIND = ("storage", "fold", "growth", "shipper", "broker-faults", "ingesters", "chain", "kafka-chain")
GROUPS = {"edge": EDGE, "behind": BEHIND}
QUESTIONS = (*EDGE, *BEHIND)
"""Each is a module of this folder with `measure(Field) -> Findings`, loaded when it is asked for."""
PROGRAMS = (
    ("wrk", "wrk", (*EDGE, "chain", "kafka-chain")),
    ("nginx", "nginx", EDGE),
    ("taskset", "util-linux", EDGE),
)
"""Name, Debian package, and the questions that need it."""
IDLE_SECONDS = 2
BUSY = 0.05
"""Share of the processors that may be in use before anything is started."""
REMARK = f"QUICK RUN: {QUICK.campaigns:,} campaigns, one short round, nothing to be quoted"


def main() -> None:
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    scale = QUICK if given.quick else FULL
    need_two_processors()
    for program, package, needed_by in PROGRAMS:
        if set(needed_by) & set(given.questions):
            need_program(program, package)
    os.sched_setaffinity(0, {CLIENT_CPU})
    print(
        f"{_processor()}, {os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}"
    )
    doubts = [REMARK] if scale.quick else []
    watch = Watch()
    time.sleep(IDLE_SECONDS)
    used = watch.seen().used
    if used > BUSY:
        doubts.append(f"NOT AN IDLE MACHINE: others used {used:.0%} of its processors before anything was started")
    print("\n".join(doubts))
    started, watch = time.monotonic(), Watch()
    findings = answer(given.questions, scale)
    marks.show(findings, doubts)
    print(f"\n{time.monotonic() - started:.0f} s; the host gave {watch.seen().stolen:.1%} of the processors to others")


def answer(questions: Sequence[str], scale: Scale) -> marks.Findings:
    """Ask every question; one that cannot be answered says why and leaves its marks open."""
    findings: marks.Findings = {}
    # In this folder, because a temporary one may be memory, and a journal must be on a disk.
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, refresh_per_second=2,
        ) as progress,
        Servers(Path(folder), progress) as servers,
    ):  # fmt: skip
        field = Field(servers, scale, progress)
        for question in questions:
            try:
                measure = import_module(f"benchmarks.{question.replace('-', '_')}").measure
                findings |= measure(field)
            except Missing as error:
                print(f"\n{question}: NOT MEASURED: {error}")
            except Exception as error:
                # A report goes on: the other questions do not depend on this one.
                traceback.print_exception(error)
                print(f"\n{question}: NOT MEASURED: {error}")
        if servers.edges():
            print("\nBooks: what clients were answered is in the journal")
        for key, server in servers.edges().items():
            print(_books(key, server))
    return findings


def _books(key: str, server: Server) -> str:
    """Whether the edge had on disk what clients were answered; a few more were answered when a client had gone."""
    journaled = server.journaled()
    verdict = "" if journaled >= server.answered else "   ANSWERED WITHOUT A RECORD: the figures above are void"
    return f"  {key}: {server.answered} redirects counted by clients, {journaled} clicks in the journal{verdict}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = f"of {', '.join(QUESTIONS)}, or all of {' or '.join(GROUPS)}; default: everything"
    parser.add_argument("questions", nargs="*", metavar="question", help=known)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does everything run?")
    given = parser.parse_args()
    given.questions = asked(given.questions)
    unknown = [name for name in given.questions if name not in QUESTIONS]
    if unknown:
        parser.error(f"no such question: {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    return given


def asked(names: Sequence[str]) -> list[str]:
    """The questions behind names and groups, each once; all of them when nothing is named."""
    found = [question for name in names or GROUPS for question in GROUPS.get(name, (name,))]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    main()
