"""Runs the contract of sources on the journal, with stored segments deleted as soon as they may be."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from management.ingest.books import Announced
from management.ingest.sources import Source
from management.ingest.sources import journal as journal_source
from management.ingest.sources.journal import JournalSource
from shared.journal import NO_LIMITS, JournalWriter
from tests.contract.source_contract import KIND, SourceContract


class JournalOrigin:
    limit = 40

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: dict[bytes, JournalWriter] = {}
        self.failures: list[BaseException] = []

    async def begin(self) -> bytes:
        writer = JournalWriter.open(self._root, "os", segment_bytes=4096, on_failure=self.failures.append)
        self._writers[writer.stream] = writer
        return writer.stream

    async def append(self, stream: bytes, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            await self._writers[stream].append(KIND, payload)

    async def end(self, stream: bytes) -> None:
        await self._writers.pop(stream).close()

    def open(self, stored: Mapping[bytes, int]) -> Source:
        async def positions(streams: Sequence[bytes]) -> dict[bytes, int]:
            return {stream: stored[stream] for stream in streams if stream in stored}

        async def no_losses(losses: Mapping[bytes, int]) -> None:
            pytest.fail(f"nobody declared a loss: {losses}")

        async def unread(said: Mapping[bytes, Announced]) -> None:
            assert said

        return JournalSource(
            self._root,
            0.0,
            positions,
            limits=NO_LIMITS,
            store_losses=no_losses,
            store_announced=unread,
            records=self.limit,
        )

    async def close(self) -> None:
        for stream in list(self._writers):
            await self.end(stream)


class TestJournalSource(SourceContract):
    @pytest.fixture
    async def origin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JournalOrigin]:
        monkeypatch.setattr(journal_source, "SWEEP_SECONDS", 0.0)
        origin = JournalOrigin(tmp_path / "journal")
        yield origin
        await origin.close()
        assert origin.failures == []
