"""Where everything lies below MILEPOST_DATA_DIR: the one map that both services and the launchers read."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataDir:
    """The layout of one installation's data directory; `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> "DataDir":
        return cls(root.absolute())

    @property
    def journal(self) -> Path:
        """One folder per stream, each a life of one edge worker."""
        return self.root / "journal"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def secrets(self) -> Path:
        """0700; every file in it 0600."""
        return self.root / "secrets"

    @property
    def run(self) -> Path:
        """`<part>.pid` files and `endpoints.json`; meaningful only while `milepost up` runs."""
        return self.root / "run"

    @property
    def ip(self) -> Path:
        return self.root / "ip"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def routing_copy(self) -> Path:
        """The edge's last routing table, so that it serves with every server down."""
        return self.root / "routing.json"

    @property
    def key_ring(self) -> Path:
        return self.secrets / "keys"

    @property
    def endpoints(self) -> Path:
        return self.run / "endpoints.json"

    @property
    def ship_status(self) -> Path:
        """What the shipper says of itself each second, as JSON."""
        return self.run / "ship.status"

    @property
    def ingest_status(self) -> Path:
        """What an ingest from Kafka says of itself each second, as JSON."""
        return self.run / "ingest.status"

    def pid_file(self, part: str) -> Path:
        return self.run / f"{part}.pid"


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, readable by this user alone (0600), its folder 0700 if it is new."""
    draft = _draft(path)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def replace(path: Path, content: bytes) -> None:
    """Put `content` in place of what `path` holds, in one step for whoever reads it; its folder 0700 if it is new. Not
    synced: only for what is worth nothing after a power cut. Raises OSError."""
    draft = _draft(path)
    draft.write_bytes(content)
    draft.rename(path)


def _draft(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}")
