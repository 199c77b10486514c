"""Covers the tests' own broker: what each of its faults does and leaves. What milepost does under them lies elsewhere."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from management.ingest.sources.kafka_topics import ensure_topics
from shared.topics import CONSUMED_TOPIC, EVENTS_PARTITIONS, EVENTS_TOPIC
from tests.integration.edge.harness import await_true
from tests.kafka.broker import Broker, is_gone
from tests.kafka.topics import administration, delete_records, delete_topics, end_offsets, everything


async def send(bootstrap: str, *values: bytes, partition: int = 0) -> list[int]:
    """Offsets that the broker acknowledged."""
    async with asyncio.timeout(60):
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        await producer.start()
        try:
            return [(await producer.send_and_wait(EVENTS_TOPIC, value, partition=partition)).offset for value in values]
        finally:
            await producer.stop()


async def stored(broker: Broker) -> list[bytes]:
    return [record.value for record in await everything(broker.bootstrap, EVENTS_TOPIC)]


async def test_each_test_finds_both_topics_new_and_empty(kafka: Broker) -> None:
    assert set((await end_offsets(kafka.bootstrap, EVENTS_TOPIC)).items()) == {(n, 0) for n in range(EVENTS_PARTITIONS)}
    await send(kafka.bootstrap, b"left behind")


async def test_and_so_does_the_next_one(kafka: Broker) -> None:
    assert await stored(kafka) == []
    kafka.freeze()  # what a test may leave behind, too


async def test_and_the_one_after_a_frozen_broker(kafka: Broker) -> None:
    assert await send(kafka.bootstrap, b"it answers") == [0]


async def test_a_killed_broker_keeps_what_it_acknowledged_and_comes_back_on_its_port(kafka: Broker) -> None:
    address = kafka.bootstrap
    await send(address, b"one", b"two")
    kafka.kill()
    assert not kafka.running
    await asyncio.to_thread(kafka.start)
    assert kafka.bootstrap == address
    assert await stored(kafka) == [b"one", b"two"]


async def test_a_wiped_broker_forgets_topics_and_all(own_kafka: Broker) -> None:
    await ensure_topics(own_kafka.bootstrap)
    await send(own_kafka.bootstrap, b"forgotten")
    own_kafka.wipe()
    await asyncio.to_thread(own_kafka.start)
    async with administration(own_kafka.bootstrap) as admin:
        assert await admin.list_topics() == []
    await ensure_topics(own_kafka.bootstrap)
    assert await stored(own_kafka) == []


async def test_a_broker_that_goes_back_forgets_the_end_of_its_log_and_keeps_its_topics(own_kafka: Broker) -> None:
    await ensure_topics(own_kafka.bootstrap)
    await send(own_kafka.bootstrap, b"kept")
    own_kafka.remember()
    await asyncio.to_thread(own_kafka.start)
    await send(own_kafka.bootstrap, b"acknowledged, then forgotten")
    own_kafka.go_back()
    await asyncio.to_thread(own_kafka.start)
    assert await stored(own_kafka) == [b"kept"]


async def test_a_frozen_broker_says_nothing_until_it_is_thawed(kafka: Broker) -> None:
    kafka.freeze()
    sending = asyncio.create_task(send(kafka.bootstrap, b"late"))
    done, _ = await asyncio.wait({sending}, timeout=1.0)
    assert not done
    kafka.thaw()
    assert await sending == [0]


async def test_the_beginning_of_a_log_can_be_cut_off(kafka: Broker) -> None:
    await send(kafka.bootstrap, b"old", b"young")
    await delete_records(kafka.bootstrap, EVENTS_TOPIC, 0, before=1)
    assert await stored(kafka) == [b"young"]


async def test_one_topic_can_be_deleted_alone(kafka: Broker) -> None:
    await delete_topics(kafka.bootstrap, EVENTS_TOPIC)
    async with administration(kafka.bootstrap) as admin:
        known = await admin.list_topics()
    assert EVENTS_TOPIC not in known
    assert CONSUMED_TOPIC in known


def test_a_broker_that_cannot_start_says_why(own_kafka: Broker) -> None:
    own_kafka.kill()
    (own_kafka.folder / "data" / "meta.properties").write_text("version=1\n")
    with pytest.raises(AssertionError, match="the broker does not answer"):
        own_kafka.start()


def test_a_broker_does_not_outlive_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.kafka.broker import Broker; "
        "broker = Broker(Path(sys.argv[1])); broker.start(); print(broker.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "kafka")], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.kill()
    starter.communicate()
    await_true(lambda: is_gone(pid), "the broker is gone")
