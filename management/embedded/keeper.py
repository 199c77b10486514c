"""Keeps a process going: waits for its end, starts it again, tells both."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Protocol

from management.embedded.failure import StartError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_SETTLED_SECONDS = 30.0


class Kept(Protocol):
    """A part or a server: `start` may be called again once `exited` has returned."""

    name: str

    async def start(self) -> object: ...

    async def exited(self) -> int: ...

    async def stop(self, hurry: asyncio.Event | None = None) -> None: ...


class Backoff:
    """The pause before each restart: none at first, then 0.2 s doubling to 5 s, none again after 30 s of life."""

    def __init__(self) -> None:
        self._next = 0.0

    def pause_after(self, lived: float) -> float:
        """Seconds to wait, the process having lived for `lived` seconds."""
        pause = 0.0 if lived >= _SETTLED_SECONDS else self._next
        self._next = min(pause * 2, _LONGEST_PAUSE) if pause else _FIRST_PAUSE
        return pause


async def keep(kept: Kept, say: Callable[[str], None], died: Callable[[str], None]) -> None:
    """Restarts `kept`, which is running, until cancelled. `died` is told its name at each death, before the restart."""
    loop = asyncio.get_running_loop()
    backoff = Backoff()
    born = loop.time()
    while True:
        status = await kept.exited()
        say(f"{kept.name} ended ({describe(status)}), it is started again")
        died(kept.name)
        lived = loop.time() - born
        while True:
            await asyncio.sleep(backoff.pause_after(lived))
            born = loop.time()
            try:
                await kept.start()
            except (StartError, OSError) as error:  # OSError: a full disk, until it has room again
                say(str(error))
                died(kept.name)
                lived = loop.time() - born
                continue
            break
        say(f"{kept.name} is running again")


def describe(status: int) -> str:
    """An exit status in words: `exit status 1`, `killed by SIGKILL`."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
