"""Waits until what was sent has become figures: read again and again until they agree and no longer move."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from management.rehearsal.api_client import ApiRefused, ApiUnreachable

STEADY_SECONDS: Final = 2.0
"""How long readings must stay the same: what is counted twice comes late."""
DEADLINE_SECONDS: Final = 30.0
_INTERVAL_SECONDS: Final = 0.25

Reading = TypeVar("Reading")


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds. `deadline` counts from the last change of the readings: a backlog that shrinks is awaited."""

    steady: float = STEADY_SECONDS
    deadline: float = DEADLINE_SECONDS
    interval: float = _INTERVAL_SECONDS


@dataclass(frozen=True, slots=True)
class Settled(Generic[Reading]):
    """The last reading, and whether it agreed and stood still within the deadline."""

    reading: Reading
    agreed: bool
    seconds: float


async def settle(
    read: Callable[[], Awaitable[Reading]],
    agrees: Callable[[Reading], bool],
    patience: Patience,
    notify: Callable[[Reading], None],
) -> Settled[Reading]:
    """Read until `agrees` and steady, or until nothing has changed for the deadline; `notify` sees each reading.

    An API that is away meanwhile is asked again; if it stays away, its last ApiUnreachable or ApiRefused is raised.
    """
    began = changed_at = time.monotonic()
    last: Reading | None = None
    while True:
        problem: ApiUnreachable | ApiRefused | None = None
        try:
            reading = await read()
        except (ApiUnreachable, ApiRefused) as error:
            if isinstance(error, ApiRefused) and error.status < 500:
                raise
            problem = error
        now = time.monotonic()
        if problem is None:
            notify(reading)
            if reading != last:
                last, changed_at = reading, now
            elif agrees(reading) and now - changed_at >= patience.steady:
                return Settled(reading, True, now - began)
        if now - changed_at >= patience.deadline:
            if problem is not None or last is None:
                raise problem or AssertionError("read and unread at once")
            return Settled(last, False, now - began)
        await asyncio.sleep(patience.interval)
