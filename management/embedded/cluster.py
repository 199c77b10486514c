"""The files of the embedded Postgres: made once and whole, its superuser's password, its settings.

A new cluster is made in `postgres.new`, together with the database and the password, and renamed when it is complete
and on disk. So a `postgres` folder is never half made, whatever interrupted the start before.
"""

import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from management.embedded.failure import StartError
from management.embedded.logs import log_file
from management.embedded.memory import usable_memory
from management.embedded.privileges import RunAs
from management.embedded.process import Launch, run_once
from shared.data_dir import DataDir

ROLE = DATABASE = "milepost"
SERVER_ENVIRON: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_INITDB_SECONDS = 120.0
_SINGLE_USER_SECONDS = 300.0  # it replays the log first if the last life ended by a kill
_MIB = 1024 * 1024
_SETTINGS_FILE = "milepost.conf"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of one data directory and the programs and identity that it is made and run with."""

    data_dir: DataDir
    binaries: Path
    run_as: RunAs

    @property
    def exists(self) -> bool:
        return (self.data_dir.postgres / "PG_VERSION").exists()

    async def create(self, password: str) -> None:
        """Makes the cluster with its database; raises StartError with the log that says why not."""
        folder = self.data_dir.postgres
        if folder.exists() and any(folder.iterdir()):
            raise StartError(f"{folder} holds files but no Postgres cluster, move them away")
        draft = folder.with_name("postgres.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        self.run_as.own(draft)
        await self._initdb(draft)
        self._write(draft / "pg_hba.conf", "host all all 127.0.0.1/32 scram-sha-256\n")
        with (draft / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"\ninclude = '{_SETTINGS_FILE}'\n")
        self.write_settings(draft)
        await self._single_user(draft, f"CREATE DATABASE {DATABASE};\n\n{_password_statement(password)}")
        _sync_folder(draft)
        draft.rename(folder)
        _sync_folder(folder.parent)

    async def set_password(self, password: str) -> None:
        """Gives the superuser a new password without the old one; the server must not be running."""
        await self._single_user(self.data_dir.postgres, _password_statement(password))

    def write_settings(self, folder: Path) -> None:
        """Writes our settings, which `postgresql.conf` includes; ALTER SYSTEM still overrules them."""
        text = "".join(f"{name} = '{value}'\n" for name, value in server_settings(usable_memory()).items())
        self._write(folder / _SETTINGS_FILE, text)

    async def _initdb(self, draft: Path) -> None:
        options = (
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            "--auth=reject",  # until pg_hba.conf is ours
            "--no-instructions",
            f"--username={ROLE}",
            f"--pgdata={draft}",
        )
        await self._run("initdb", options, _INITDB_SECONDS)

    async def _single_user(self, folder: Path, statements: str) -> None:
        # Statements are kept out of the log, because one of them holds the password.
        quiet = ("-c", "log_checkpoints=off", "-c", "log_min_error_statement=panic")
        options = ("--single", "-j", *quiet, "-D", str(folder), "template1")
        written = await self._run("postgres", options, _SINGLE_USER_SECONDS, statements)
        if "ERROR:" in written or "FATAL:" in written:  # the exit status is 0 all the same
            raise StartError(
                "the database of the embedded Postgres cannot be made", log_file(self.data_dir, "postgres")
            )

    async def _run(self, program: str, options: tuple[str, ...], seconds: float, stdin: str = "") -> str:
        launch = Launch(
            part="postgres",
            argv=(str(self.binaries / program), *options),
            environ=SERVER_ENVIRON,
            run_as=self.run_as,
            cwd=Path("/"),
            stop_steps=((signal.SIGTERM, 5.0),),
        )
        status, written = await run_once(launch, self.data_dir, seconds, stdin.encode())
        if status != 0:
            raise StartError(f"{program} failed (exit status {status})", log_file(self.data_dir, "postgres"))
        return written

    def _write(self, path: Path, text: str) -> None:
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o600)
        self.run_as.own(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(path)


def server_settings(memory: int) -> dict[str, str]:
    """Settings for one machine with `memory` bytes that also runs everything else.

    Autovacuum comes by often, since the tables of deltas and deliveries are filled and emptied all the time; how eager
    it is with each table is up to that table.
    """
    shared = min(256, max(32, memory // 8 // _MIB))
    cached = max(128, memory // 2 // _MIB)
    return {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{cached}MB",
        "maintenance_work_mem": "64MB",
        "max_connections": "60",
        "max_locks_per_transaction": "256",  # a statement over all days locks every partition and its indexes
        # The build has pglz only, which costs more processor time than it saves in writing.
        "wal_compression": "off",
        "max_wal_size": "2GB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "10min",
        "random_page_cost": "1.1",
        "jit": "off",
        "autovacuum": "on",
        "autovacuum_naptime": "10s",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u ",
        "log_checkpoints": "off",
    }


def _password_statement(password: str) -> str:
    return f"ALTER ROLE {ROLE} PASSWORD '{password}';\n\n"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
