"""wrk as load: a closed loop, on a processor of its own, that finds how many answers a second a server gives."""

import re
import subprocess
import tempfile
from dataclasses import dataclass

from benchmarks import traffic
from benchmarks.machine import CLIENT_CPU

_LONGEST_EXTRA_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """What wrk does: `new_agents` is the share of clicks with an agent never seen before, from 0 to 1; `path` is asked
    for instead of the campaigns of benchmarks.traffic."""

    connections: int = 64
    keep_alive: bool = True
    campaigns: int = 1
    new_agents: float = 0.0
    cpus: tuple[int, ...] = (CLIENT_CPU,)
    path: str = ""


@dataclass(frozen=True)
class Outcome:
    """Completed answers, answers that were not 2xx or 3xx, socket errors, seconds the run took."""

    answers: int
    bad: int
    errors: int
    seconds: float


def drive(port: int, load: Load, seconds: float, seed: int) -> Outcome:
    """One run; `seed` makes what must be new differ from run to run. Raises CalledProcessError when wrk fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(traffic.wrk_script())
        script.flush()
        command = [
            "taskset", "-c", ",".join(map(str, load.cpus)),
            "wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "-s", script.name,
            f"http://127.0.0.1:{port}/", "--",
            str(load.campaigns), str(load.new_agents), str(seed), "keep" if load.keep_alive else "close",
            load.path,
        ]  # fmt: skip
        printed = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=seconds + _LONGEST_EXTRA_SECONDS
        ).stdout
    return read(printed)


def read(printed: str) -> Outcome:
    """What wrk's report says."""
    total = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", printed)
    assert total is not None, printed
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    return Outcome(
        int(total[1]),
        int(bad[1]) if bad else 0,
        sum(int(number) for number in errors.groups()) if errors else 0,
        float(total[2]) * {"ms": 0.001, "s": 1, "m": 60}[total[3]],
    )
