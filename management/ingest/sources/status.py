"""What ingest is doing, as a file that anybody may read: `run/ingest.status` below the data directory, JSON, replaced
once a second while the process works. `at` says when it was written, in ms since 1970. Of several processes that share
a data directory it shows the one that wrote last, whose `pid` it names."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from shared.data_dir import replace

STATUS_SECONDS: Final = 1.0

log = structlog.get_logger()


async def keep_status(file: Path, status: Callable[[], Mapping[str, Any]]) -> None:
    """Write `status` to `file` until cancelled. A disk that takes no file is said once and stops nothing."""
    failed = False
    while True:
        text = orjson.dumps({"pid": os.getpid(), "at": int(time.time() * 1000), **status()})
        try:
            await asyncio.to_thread(replace, file, text)
            failed = False
        except OSError as error:
            if not failed:
                log.warning("status_not_written", error=str(error))
            failed = True
        await asyncio.sleep(STATUS_SECONDS)
