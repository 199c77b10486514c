"""The HTTP server as the edge runs it, for the public port and the admin port alike."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import uvicorn

BACKLOG: Final = 2048
DRAIN_SECONDS: Final = 10
"""How long open requests may take when the edge ends."""


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process by the signal instead of in order."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
