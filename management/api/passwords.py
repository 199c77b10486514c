"""Password hashing off the event loop: argon2id in two threads, behind a queue that cannot grow (security X3)."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from management.errors import UNAVAILABLE, Refusal

THREADS: Final = 2
MAX_WAITING: Final = 32
"""Logins that may wait for a thread, a second or two of work; the next one is told to come again."""
_LOW_PRIORITY = 10

# RFC 9106's second recommendation with one lane: 64 MiB, 3 passes; two threads hold at most 128 MiB.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)


def hash_password(password: str) -> str:
    """An argon2id hash; takes tens of milliseconds of CPU."""
    return _HASHER.hash(password)


class Passwords:
    """Checks passwords. An unknown e-mail costs the same as a wrong password: `None` is checked against a decoy."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="password", initializer=_lower_priority)
        self._waiting = 0
        self._decoy = hash_password("a password that nobody has")

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `password` fits `stored`; always False for None. Raises Refusal (503) when too many wait."""
        if self._waiting >= MAX_WAITING + THREADS:
            raise Refusal(UNAVAILABLE, "Too many logins at once")
        self._waiting += 1
        try:
            fits = await asyncio.get_running_loop().run_in_executor(
                self._threads, _verify, stored or self._decoy, password
            )
        finally:
            self._waiting -= 1
        return fits and stored is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False


def _lower_priority() -> None:
    # On Linux niceness belongs to the thread: logins never slow the clicks of an edge on the same cores.
    os.setpriority(os.PRIO_PROCESS, 0, _LOW_PRIORITY)
