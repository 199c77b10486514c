"""What every question is asked with: the servers, how much to measure, and where progress is shown."""

from typing import NamedTuple

from rich.progress import Progress

from benchmarks.rounds import Scale
from benchmarks.servers import Servers


class Field(NamedTuple):
    """One run of the benchmarks."""

    servers: Servers
    scale: Scale
    progress: Progress
