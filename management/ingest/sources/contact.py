"""Whether the broker answers: said once, when it goes and when it is back, and at any time in `trouble`."""

import time
from typing import Final

import structlog

SURE_SECONDS: Final = 2.0
"""No broker comes back in so little from where it lost its log. What is read longer after its last answer to a question
may come from another log, and is read once more together with the message before it."""

log = structlog.get_logger()


class Contact:
    """`trouble`: why the broker does not answer, None while it does; `was_away`: that was said."""

    def __init__(self) -> None:
        self.trouble: str | None = "not connected yet"
        self.was_away = False
        self._sure_until = 0.0

    @property
    def is_sure(self) -> bool:
        """What is read now comes from the log that was asked about last."""
        return time.monotonic() <= self._sure_until

    def lost(self, error: BaseException) -> None:
        if not self.was_away:
            log.warning("broker_away", error=reason_of(error))
        self.was_away, self.trouble = True, reason_of(error)

    def answered(self, asked_at: float) -> bool:
        """It answered what it was asked then, monotonic. True: it was silent for so long that its log may be another."""
        doubtful = time.monotonic() > self._sure_until
        if self.was_away:
            log.info("broker_back")
        self.was_away, self.trouble = False, None
        self._sure_until = asked_at + SURE_SECONDS
        return doubtful


def reason_of(error: BaseException) -> str:
    return str(error) or type(error).__name__
