"""What would break the promise that every answered click is counted and its link known: the data directory, Postgres,
Redis, Kafka."""

import logging
import os
from pathlib import Path

from management.accounts.owner import owner_database
from management.db.pool import UNREACHABLE, connect
from management.ingest.sources.kafka_topics import inspect_topics
from management.publisher import KEEPS_ALL, RoutingUnavailable, eviction_policy, open_redis
from shared.env import Settings, SettingsError

_VOLATILE = {"tmpfs": "is lost with the machine's memory", "ramfs": "is lost with the machine's memory"}
_UNSURE = {
    "overlay": "belongs to a container and goes with it",
    "nfs": "does not promise that synced data are kept",
    "nfs4": "does not promise that synced data are kept",
}


async def findings(settings: Settings) -> list[str]:
    """One sentence for each thing that should be changed; empty when all is well."""
    found = _data_directory(settings)
    if settings.durability == "os":
        found.append("MILEPOST_DURABILITY=os: answered clicks survive a killed process, but not a power cut")
    if settings.kafka_bootstrap is not None:
        found += await _kafka(settings.kafka_bootstrap)
    if settings.redis_url is not None:
        found += await _redis(settings.redis_url)
    try:
        url = owner_database(settings)
    except SettingsError:
        return found  # no server to look at yet; `milepost up` brings its own, set up safely
    return found + await _postgres(url)


def _data_directory(settings: Settings) -> list[str]:
    path = settings.data_dir
    while not path.exists():
        path = path.parent
    kind = file_system(path)
    reason = _VOLATILE.get(kind) or _UNSURE.get(kind)
    return [f"MILEPOST_DATA_DIR: {settings.data_dir} is on {kind}, which {reason}"] if reason else []


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel names it; "unknown" where it does not say."""
    wanted = os.path.realpath(path)
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, name, *_ = line.split(" ")
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, name
    return kind


async def _kafka(bootstrap: str) -> list[str]:
    # Its client writes a line for each attempt; what is wrong stands in the findings.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return await inspect_topics(bootstrap)


async def _redis(url: str) -> list[str]:
    client = open_redis(url)
    try:
        policy = await eviction_policy(client)
    except RoutingUnavailable as error:
        return [f"MILEPOST_REDIS_URL: Redis does not answer: {error}"]
    finally:
        await client.aclose()
    if policy == KEEPS_ALL:
        return []
    return [f"Redis: with maxmemory-policy {policy} it may forget campaigns that edges need; set it to {KEEPS_ALL}"]


async def _postgres(url: str) -> list[str]:
    try:
        connection = await connect(url, application="milepost doctor")
    except UNREACHABLE as error:
        return [f"MILEPOST_DATABASE_URL: Postgres does not answer: {error}"]
    try:
        values = {
            name: await connection.fetchval("SELECT current_setting($1)", name)
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        }
    finally:
        await connection.close()
    return [
        f"Postgres: {name} is off, so a crash can lose what was counted; turn it on"
        for name, value in values.items()
        if value == "off"
    ]
