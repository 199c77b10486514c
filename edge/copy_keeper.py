"""Keeps the copy on disk while the routing table changes: in threads, and so that a disk that takes nothing keeps no
table from being used."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from edge.copy_draft import Draft
from edge.copy_format import CopyError, Mark
from edge.salts import DAY_MS
from edge.table import RawRow, Table
from edge.table_copy import TableCopy

log = structlog.get_logger("edge.routing_table")

RETRY_SECONDS: Final = 30.0
"""After a failed write the copy is left alone for so long."""


class CopyKeeper:
    """One worker's hand on the copy. Nothing here raises: what goes wrong is logged and tried again later."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        """`writes` on one worker of a host only: the copy is shared."""
        self._copy = TableCopy(path)
        self._writes = writes
        self._retry_at = 0.0
        self._compacting: asyncio.Task[None] | None = None

    async def read(self, add: Callable[[bytes, bytes], None]) -> Mark | None:
        """Give every row to `add`, in a thread; what they are complete for. None when there is no table on disk, or
        none that can be read."""
        try:
            mark = await asyncio.to_thread(self._copy.read, add)
        except CopyError as error:
            log.error("routing copy unreadable", reason=str(error))
            return None
        if mark is not None and self._writes:
            try:
                await asyncio.to_thread(self._copy.resume, mark)
            except CopyError as error:
                self._failed(error)
        return mark

    def complete_since(self, table: Table) -> int | None:
        """The version from which changes must be read so that neither `table` nor the copy misses one; None when the
        copy must be written whole."""
        if not self._may_write():
            return table.version
        mark = self._copy.mark
        return min(mark.version, table.version) if mark is not None and mark.generation == table.generation else None

    def _may_write(self) -> bool:
        return self._writes and time.monotonic() >= self._retry_at

    async def append(self, rows: list[RawRow], mark: Mark) -> None:
        """Write a change down, before it is used."""
        if not self._may_write():
            return
        try:
            await asyncio.to_thread(self._copy.append, rows, mark.of_day(_today()))
        except CopyError as error:
            self._failed(error)

    async def begin(self) -> Draft | None:
        """A draft for a whole table; None when there is nothing to write, here and below."""
        if not self._may_write():
            return None
        if self._compacting is not None:
            await self._compacting
        try:
            return await asyncio.to_thread(self._copy.draft)
        except CopyError as error:
            self._failed(error)
            return None

    async def add(self, draft: Draft | None, rows: list[RawRow]) -> Draft | None:
        if draft is None:
            return None
        try:
            await asyncio.to_thread(draft.add, rows)
        except CopyError as error:
            self._failed(error)
            return None
        return draft

    async def finish(self, draft: Draft | None, mark: Mark) -> None:
        """Put the draft in place of the copy."""
        if draft is None:
            return
        try:
            await asyncio.to_thread(self._copy.replace, draft, mark.of_day(_today()), _today())
        except CopyError as error:
            self._failed(error)

    def tidy(self) -> None:
        """Begin to write the copy anew, in a thread, when that is due."""
        idle = self._compacting is None or self._compacting.done()
        if idle and self._may_write() and self._copy.is_due(_today()):
            self._compacting = asyncio.create_task(self._compact())

    async def _compact(self) -> None:
        try:
            await asyncio.to_thread(self._copy.compact, _today())
        except CopyError as error:
            self._failed(error)

    async def close(self) -> None:
        if self._compacting is not None:
            await self._compacting
        await asyncio.to_thread(self._copy.close)

    def _failed(self, error: CopyError) -> None:
        log.error("routing copy not written", reason=str(error))
        self._retry_at = time.monotonic() + RETRY_SECONDS


def _today() -> int:
    return int(time.time() * 1000) // DAY_MS
