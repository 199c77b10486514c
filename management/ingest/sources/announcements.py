"""What the writers of a journal announce, on its way into the books: once a second, beside the reading."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from management.ingest.books import Announced
from shared.journal import FIRST_SEQ, read_announced

TELL_SECONDS: Final = 1.0

StoreAnnounced = Callable[[Mapping[bytes, Announced]], Awaitable[None]]
"""Stored for good when this returns."""


class Announcements:
    """Belongs to one source. Storing runs in the background, so that no read waits for it."""

    def __init__(self, root: Path, store: StoreAnnounced) -> None:
        self._root = root
        self._store = store
        self._ended: dict[bytes, int] = {}
        self._told: dict[bytes, Announced] = {}
        self._telling: asyncio.Task[None] | None = None
        self._tell_at = time.monotonic()

    def ended(self, stream: bytes, next_seq: int) -> None:
        """The stream's writer is gone, and what it left is read up to `next_seq`."""
        self._ended[stream] = next_seq

    def owes(self, stream: bytes) -> bool:
        """Whether the end of `stream` is not in the books yet."""
        return stream in self._ended

    def tell_when_due(self, living: Iterable[bytes], stored: Mapping[bytes, int | None]) -> None:
        """`stored`: stream → first seq not stored, None for one without a position. Raises what storing raised."""
        if self._telling is not None:
            if not self._telling.done():
                return
            self._telling.result()
            self._telling = None
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + TELL_SECONDS
        said = {stream: Announced(self._last_seq(stream), False) for stream in living}
        for stream, next_seq in self._ended.items():
            # Finished in the books is only what is stored to its end: the rest is in the journal until then.
            if (stored.get(stream) or FIRST_SEQ) >= next_seq:
                said[stream] = Announced(max(self._last_seq(stream), next_seq - 1), True)
        fresh = {
            stream: announced
            for stream, announced in said.items()
            if announced.last_seq >= FIRST_SEQ and self._told.get(stream) != announced
        }
        finished = [stream for stream, announced in said.items() if announced.finished]
        if fresh or finished:
            self._telling = asyncio.create_task(self._tell(fresh, finished))

    async def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)  # the next life says it again

    async def _tell(self, fresh: Mapping[bytes, Announced], finished: Iterable[bytes]) -> None:
        if fresh:
            await self._store(fresh)
        self._told.update(fresh)
        for stream in finished:
            self._ended.pop(stream, None)
            self._told.pop(stream, None)

    def _last_seq(self, stream: bytes) -> int:
        """As last announced; where the page is gone, or cannot be read now, as was told before."""
        announced = None
        with suppress(OSError):
            announced = read_announced(self._root / stream.hex())
        if announced is not None:
            return announced
        told = self._told.get(stream)
        return FIRST_SEQ - 1 if told is None else told.last_seq
