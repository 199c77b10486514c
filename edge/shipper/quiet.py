"""What the Kafka client writes about itself, bounded: in an outage it has some forty lines a second to say."""

import logging
import time
from typing import Final

LINES: Final = 5
SECONDS: Final = 60.0


class FewLines(logging.Filter):
    """Lets the first LINES records of any SECONDS pass; the first one after that says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._began = float("-inf")
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._began >= SECONDS:
            if self._lines > LINES:
                record.msg = f"{record.getMessage()} ({self._lines - LINES} lines left out before)"
                record.args = ()
            self._began, self._lines = now, 0
        self._lines += 1
        return self._lines <= LINES


def limit(handlers: list[logging.Handler], name: str) -> None:
    """Bounds what loggers of and below `name` write to `handlers`."""
    few = FewLines()

    def passes(record: logging.LogRecord) -> bool:
        return not (record.name == name or record.name.startswith(f"{name}.")) or few.filter(record)

    for handler in handlers:
        handler.addFilter(passes)
