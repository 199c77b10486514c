"""All processes that one life of `milepost up` keeps: started one by one, watched together, stopped in stages."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

from management.embedded.failure import StartError
from management.embedded.keeper import Kept, keep
from management.embedded.logs import log_file
from management.embedded.parts import PartProcess
from shared.data_dir import DataDir

_READY_SECONDS = 60.0
_READY_POLL_SECONDS = 0.05
_DEATHS_WHILE_STARTING = 3


class Fleet:
    """The kept processes and the tasks that watch them. `say` takes one line for the user."""

    def __init__(self, data_dir: DataDir, say: Callable[[str], None]) -> None:
        self._data_dir = data_dir
        self._say = say
        self._stages: dict[int, list[Kept]] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._deaths: Counter[str] = Counter()

    @property
    def empty(self) -> bool:
        """Whether nothing was ever started."""
        return not self._stages

    async def start(self, kept: Kept, stop_stage: int) -> None:
        """Starts a process and keeps it going until `stop`; raises StartError. Also one half started is stopped."""
        self._stages.setdefault(stop_stage, []).append(kept)
        await kept.start()
        self.watch(keep(kept, self._say, self._count_death))

    def watch(self, work: Coroutine[None, None, None]) -> None:
        """Runs work that has no end beside the processes until they are stopped."""
        self._watchers.append(asyncio.create_task(work))

    async def until_ready(self, process: PartProcess) -> None:
        """Returns when the part is ready; raises StartError if it, or any process, dies again and again meanwhile."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _READY_SECONDS
        while not await process.is_ready():
            self.raise_failure()
            for name, deaths in self._deaths.items():
                if deaths >= _DEATHS_WHILE_STARTING:
                    raise StartError(
                        f"{name} ended {deaths} times while starting, see {self._log(name)}", self._log(name)
                    )
            if loop.time() > deadline:
                log = self._log(process.name)
                raise StartError(f"{process.name} was not ready within {_READY_SECONDS:g} s, see {log}", log)
            await asyncio.sleep(_READY_POLL_SECONDS)

    async def until_failure(self) -> None:
        """Returns, by raising, only when a watcher failed, which is a defect of ours."""
        await asyncio.wait(self._watchers, return_when=asyncio.FIRST_COMPLETED)
        self.raise_failure()

    def raise_failure(self) -> None:
        for watcher in self._watchers:
            if watcher.done():
                watcher.result()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stops restarting, then ends the stages from the lowest up; within a stage all at once."""
        await cancelled(*self._watchers)
        for stage in sorted(self._stages):
            stopping = (self._stop_one(kept, hurry) for kept in self._stages[stage])
            await asyncio.gather(*stopping)

    async def _stop_one(self, kept: Kept, hurry: asyncio.Event) -> None:
        try:
            await kept.stop(hurry)
        except StartError as error:  # it survives SIGKILL: say so, and go on with those that can be ended
            self._say(str(error))

    def _count_death(self, name: str) -> None:
        self._deaths[name] += 1

    def _log(self, name: str) -> Path:
        return log_file(self._data_dir, name)


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Returns when all the tasks have ended after being cancelled; what they raised is left in them."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
