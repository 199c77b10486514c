"""Messages that nobody can read: each is kept as a dead letter, and too many of them stop the line."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from management.ingest.batch import DeadLetter, SourceBroken
from management.ingest.sources.messages import Chunk

WINDOW_MESSAGES, MOST_UNREADABLE = 10_000, 100
"""Of so many messages no more than so many may be unreadable, or the line stops."""

Bury = Callable[[Sequence[DeadLetter]], Awaitable[None]]
"""Keeps messages that nobody can read; raises DeadLetterFailed when it cannot."""

log = structlog.get_logger()


class Unreadable:
    """`kept`: how many in this life of the source."""

    def __init__(self, bury: Bury) -> None:
        self.kept = 0
        self._bury = bury
        self._messages = 0
        self._letters: deque[int] = deque()  # numbers of the last unreadable messages

    async def keep(self, chunk: Chunk) -> None:
        """Raises SourceBroken when they are too many, and what `Bury` raises."""
        self._messages += len(chunk.said) + len(chunk.unreadable)
        if not chunk.unreadable:
            return
        self._letters.extend([self._messages] * len(chunk.unreadable))
        while self._letters[0] <= self._messages - WINDOW_MESSAGES:
            self._letters.popleft()
        if len(self._letters) > MOST_UNREADABLE:
            raise SourceBroken(
                f"more than {MOST_UNREADABLE} of {WINDOW_MESSAGES:,} messages cannot be read;"
                f" the first of the last is {chunk.unreadable[0].reason}"
            )
        await self._bury(chunk.unreadable)
        self.kept += len(chunk.unreadable)
        log.error("unreadable_messages", messages=len(chunk.unreadable), first=chunk.unreadable[0].reason)
