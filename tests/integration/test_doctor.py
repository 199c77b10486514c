"""Covers what `milepost doctor` finds: a data directory that forgets, Postgres settings that lose, a Redis
that forgets, Kafka in every bad state. That `milepost up` prints the same as warnings: embedded/test_up.py."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest

from management.doctor import findings
from management.embedded.valkey import EmbeddedValkey
from management.ingest.sources.kafka_topics import ensure_topics
from management.publisher import open_redis
from shared.data_dir import DataDir
from shared.env import load
from shared.topics import CONSUMED_TOPIC, EVENTS_SETTINGS, EVENTS_TOPIC
from tests.kafka.broker import Broker
from tests.kafka.topics import delete_topics, make_topic
from tests.small_disk import SmallDisk

LOOK_SECONDS = 5.0


async def doctor(folder: Path, **environ: str) -> list[str]:
    """Its findings but those about the test's own folder."""
    settings = load(
        {"MILEPOST_DATA_DIR": str(folder), **{f"MILEPOST_{name}": value for name, value in environ.items()}}
    )
    return [sentence for sentence in await findings(settings) if str(folder) not in sentence]


async def make(kafka: Broker, name: str, partitions: int, settings: Mapping[str, str]) -> None:
    await delete_topics(kafka.bootstrap, name)
    await make_topic(kafka.bootstrap, name, partitions, settings)


async def test_without_kafka_nothing_is_said_about_it(tmp_path: Path) -> None:
    assert await doctor(tmp_path) == []


async def test_a_kafka_with_both_topics_is_well(tmp_path: Path, kafka: Broker) -> None:
    assert await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap) == []


async def test_one_living_broker_of_several_is_enough(tmp_path: Path, kafka: Broker) -> None:
    assert await doctor(tmp_path, KAFKA_BOOTSTRAP=f"127.0.0.1:1,{kafka.bootstrap}") == []


async def test_no_kafka_there_at_all(tmp_path: Path) -> None:
    (sentence,) = await doctor(tmp_path, KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert sentence.startswith("MILEPOST_KAFKA_BOOTSTRAP: Kafka at 127.0.0.1:1 does not answer: ")
    assert "\n" not in sentence


async def test_a_kafka_that_accepts_and_says_nothing_is_not_waited_for(tmp_path: Path, kafka: Broker) -> None:
    kafka.freeze()
    begun = time.monotonic()
    assert await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap) == [
        f"MILEPOST_KAFKA_BOOTSTRAP: Kafka at {kafka.bootstrap} does not answer within 5 s"
    ]
    assert time.monotonic() - begun < LOOK_SECONDS + 1


async def test_missing_topics_are_named(tmp_path: Path, kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap)
    assert await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap) == [
        f"Kafka has no topic {name}; `milepost ingest` and `milepost ship` make it when they start"
        for name in (EVENTS_TOPIC, CONSUMED_TOPIC)
    ]


async def test_a_topic_that_kafka_made_by_itself_is_wrong_in_every_way(tmp_path: Path, kafka: Broker) -> None:
    """What a broker gives a topic that is named to it and not there: its defaults."""
    await make(kafka, EVENTS_TOPIC, 1, {})
    await make(kafka, CONSUMED_TOPIC, 1, {})
    found = await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap)
    assert [sentence.split(";")[0] for sentence in found] == [
        f"The topic {EVENTS_TOPIC} has 1 partition",
        f"The topic {EVENTS_TOPIC} has segment.ms=604800000",
        f"The topic {EVENTS_TOPIC} has message.timestamp.type=CreateTime",
        f"The topic {CONSUMED_TOPIC} has cleanup.policy=delete",
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("cleanup.policy", "compact"), ("retention.ms", "3600000"), ("retention.ms", "-1"), ("max.message.bytes", "1000")],
)
async def test_a_setting_that_loses_or_keeps_too_much(tmp_path: Path, kafka: Broker, setting: str, value: str) -> None:
    settings = {**EVENTS_SETTINGS, setting: value}
    await make(kafka, EVENTS_TOPIC, 12, settings)
    (sentence,) = await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap)
    assert sentence.startswith(
        f"The topic {EVENTS_TOPIC} has {setting}={value}; set it to {EVENTS_SETTINGS[setting]}, "
    )


async def test_more_partitions_and_larger_messages_are_the_operators_choice(tmp_path: Path, kafka: Broker) -> None:
    settings = {**EVENTS_SETTINGS, "max.message.bytes": "10000000"}
    await make(kafka, EVENTS_TOPIC, 24, settings)
    assert await doctor(tmp_path, KAFKA_BOOTSTRAP=kafka.bootstrap) == []


async def test_a_broker_that_makes_topics_by_itself(tmp_path: Path, own_kafka: Broker) -> None:
    own_kafka.configure("auto.create.topics.enable=true")
    await asyncio.to_thread(own_kafka.restart)
    # Looking makes nothing.
    assert len(await doctor(tmp_path, KAFKA_BOOTSTRAP=own_kafka.bootstrap)) == 3
    await ensure_topics(own_kafka.bootstrap)
    (sentence,) = await doctor(tmp_path, KAFKA_BOOTSTRAP=own_kafka.bootstrap)
    assert sentence.startswith("Kafka's broker 1 has auto.create.topics.enable=true; turn it off")


async def test_a_postgres_that_does_not_sync(tmp_path: Path, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    finally:
        await connection.close()
    assert await doctor(tmp_path, DATABASE_URL=database_url) == [
        "Postgres: synchronous_commit is off, so a crash can lose what was counted; turn it on"
    ]


def test_a_data_directory_in_memory(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", 1 << 20) as disk:
        # The mounts that it reads are those of its own process: asked from within the disk's name space.
        holder = disk.path.parts[2]
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        code = (
            "import sys; from pathlib import Path; from management.doctor import file_system; "
            "print(file_system(Path(sys.argv[1])))"
        )
        inside = subprocess.run(
            ["nsenter", "--target", holder, *user, "--mount", sys.executable, "-c", code, str(tmp_path / "disk")],
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
    assert inside.stdout.strip() == "tmpfs"


def test_the_command_says_the_same_and_ends_with_1(tmp_path: Path) -> None:
    environ = {**os.environ, "MILEPOST_DATA_DIR": str(tmp_path), "MILEPOST_KAFKA_BOOTSTRAP": "127.0.0.1:1"}
    said = subprocess.run(
        [sys.executable, "-m", "management.cli", "doctor"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 1
    assert "MILEPOST_KAFKA_BOOTSTRAP: Kafka at 127.0.0.1:1 does not answer: " in said.stdout
    assert said.stderr == ""


async def test_a_redis_that_may_forget_is_named(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(DataDir.at(tmp_path))
    url = await valkey.start()
    try:
        assert await doctor(tmp_path, REDIS_URL=url) == []
        client = open_redis(url)
        await client.config_set("maxmemory-policy", "allkeys-lru")
        await client.aclose()
        assert await doctor(tmp_path, REDIS_URL=url) == [
            "Redis: with maxmemory-policy allkeys-lru it may forget campaigns that edges need; set it to noeviction"
        ]
    finally:
        await valkey.stop()


async def test_no_redis_there_at_all(tmp_path: Path) -> None:
    (sentence,) = await doctor(tmp_path, REDIS_URL="redis://127.0.0.1:1")
    assert sentence.startswith("MILEPOST_REDIS_URL: Redis does not answer: ")
