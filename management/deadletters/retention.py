"""Dead letters are kept for 30 days: whoever has not mended by then has given them up, and they hold personal data."""

from datetime import timedelta
from typing import Final

from management.db.pool import SoleConnection
from management.deadletters import repository

KEPT: Final = timedelta(days=30)
_STREAMS_AT_ONCE: Final = 100
_LETTERS_AT_ONCE: Final = 10_000
"""What one sweep takes of each stream: the rest is for the next, a minute later."""


async def forget_old(connection: SoleConnection) -> None:
    """Give up what is older than `KEPT`; the books call it discarded."""
    await repository.forget(connection, KEPT, _STREAMS_AT_ONCE, _LETTERS_AT_ONCE)
