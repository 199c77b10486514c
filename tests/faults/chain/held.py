"""A process of the system that the nemesis can keep from coming back."""

import asyncio

from management.embedded.keeper import Kept


class Held:
    """A process that stays down while it is held: what keeps it going waits for `release`."""

    def __init__(self, kept: Kept) -> None:
        self.name = kept.name
        self._kept = kept
        self._free = asyncio.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def start(self) -> None:
        await self._free.wait()
        await self._kept.start()

    async def exited(self) -> int:
        return await self._kept.exited()

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        await self._kept.stop(hurry)
