"""wrk as load: closed loop over 64 keep-alive connections, on a processor of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
SERVER_CPU, CLIENT_CPU = 0, 1

# 40 current agents' worth of variety, addresses of a /12, a sub id that never repeats.
SCRIPT = """
local agents = {}
for major = 120, 139 do
  agents[#agents+1] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/"
    .. major .. ".0.0.0 Safari/537.36"
  agents[#agents+1] = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_" .. (major % 7) .. " like Mac OS X) AppleWebKit/605.1.15"
    .. " (KHTML, like Gecko) Version/18." .. (major % 7) .. " Mobile/15E148 Safari/604.1"
end
local n = 0
request = function()
  n = n + 1
  local headers = {
    ["User-Agent"] = agents[n % #agents + 1],
    ["X-Forwarded-For"] = "81." .. (math.random(0, 15)) .. "." .. math.random(0, 255) .. "." .. math.random(1, 254),
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ["Accept-Language"] = "en-GB,en;q=0.9",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Referer"] = "https://news.example/article?id=7",
  }
  return wrk.format("GET", wrk.path .. "?sub1=zone" .. n .. "&sub2=banner&utm_source=bench", headers)
end
"""


@dataclass(frozen=True)
class Run:
    """Completed answers, answers that were not 2xx or 3xx, socket errors, answers a second."""

    answers: int
    bad: int
    errors: int
    rate: float


def need_wrk() -> None:
    """Install wrk where that is possible, else end with the command to type."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "wrk"]):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return
    sys.exit("The benchmarks need wrk. On Debian type: sudo apt-get install -y wrk")


def drive(url: str, seconds: int) -> Run:
    """One closed-loop run; raises CalledProcessError when wrk fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT)
        script.flush()
        command = ["taskset", "-c", str(CLIENT_CPU), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        printed = subprocess.run(
            [*command, "-s", script.name, url], check=True, capture_output=True, text=True, timeout=seconds + 30
        ).stdout
    total = re.search(r"(\d+) requests in ([\d.]+)s", printed)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert total is not None, printed
    assert rate is not None, printed
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", printed)
    return Run(
        int(total[1]),
        int(bad[1]) if bad else 0,
        sum(int(number) for number in errors.groups()) if errors else 0,
        float(rate[1]),
    )


def pin(pid: int, cpu: int) -> None:
    """Keep all threads of a process on one processor."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cpu})
