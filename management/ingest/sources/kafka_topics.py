"""The two Kafka topics as ingest needs them: made when they are missing, looked at for `milepost doctor`.

A topic that exists is never changed: its layout is the operator's, and doctor says what is wrong with it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NodeNotReadyError, TopicAlreadyExistsError, for_code

from shared.deadline import within
from shared.topics import LAYOUTS

MAKE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.1
_BROKER_DEFAULT: Final = -1  # replicas: what the cluster's operator set
_SETTLING: Final = "its partitions have no leader yet"


class KafkaUnavailable(Exception):
    """The broker does not answer in time, or refuses; one sentence without a full stop."""


class NoLivingBroker(KafkaUnavailable):
    """One answers, but counts none as alive, itself included: for a moment after its start or a long pause."""


async def ensure_topics(bootstrap: str) -> None:
    """Make the topics that are missing; returns once every partition of them has a leader.

    `bootstrap`: host:port, several apart by commas. Raises KafkaUnavailable, at once when nobody listens there, after
    MAKE_SECONDS when nobody is ready.
    """
    deadline = time.monotonic() + MAKE_SECONDS
    while True:
        try:
            async with _admin(bootstrap, max(deadline - time.monotonic(), _PAUSE_SECONDS)) as admin:
                return await _make_missing(admin)
        except NoLivingBroker:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def inspect_topics(bootstrap: str) -> list[str]:
    """One sentence for everything about broker and topics that should be changed. Raises nothing that Kafka causes."""
    try:
        async with _admin(bootstrap, LOOK_SECONDS) as admin:
            found = await _partitions(admin)
            sentences = [sentence for name in LAYOUTS for sentence in await _inspect(admin, name, found.get(name))]
            return sentences + await _inspect_brokers(admin)
    except KafkaUnavailable as error:
        return [f"MILEPOST_KAFKA_BOOTSTRAP: {error}"]


@asynccontextmanager
async def _admin(bootstrap: str, seconds: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for the block; whatever Kafka does wrong in it, or taking longer than `seconds`, is KafkaUnavailable."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(seconds * 1000))
    try:
        async with asyncio.timeout(seconds):
            await admin.start()
            yield admin
    except TimeoutError:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer within {seconds:g} s") from None
    except NodeNotReadyError:
        raise NoLivingBroker(f"Kafka at {bootstrap} has no living broker") from None
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        with suppress(TimeoutError, KafkaError, OSError):
            await within(_CLOSE_SECONDS, admin.close())


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, list[dict[str, Any]]]:
    """The partitions of every topic. All are asked for: naming one could make a broker create it."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}


def _leaderless(partitions: list[dict[str, Any]]) -> bool:
    return not partitions or any(partition["error_code"] or partition["leader"] < 0 for partition in partitions)


async def _make_missing(admin: AIOKafkaAdminClient) -> None:
    """Those made here are waited for. One that is there but has no leader is not: its other partitions may have."""
    made: set[str] = set()
    while True:
        found = await _partitions(admin)
        missing = [name for name in LAYOUTS if name not in found]
        if not missing and not any(_leaderless(found[name]) for name in made):
            return
        if missing:
            await _create(admin, missing)
            made.update(missing)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _create(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    wanted = []
    for name in names:
        topic = NewTopic(name, LAYOUTS[name].partitions, 1, topic_configs=dict(LAYOUTS[name].settings))
        topic.replication_factor = _BROKER_DEFAULT  # which the constructor does not let through
        wanted.append(topic)
    for name, code, message in (await admin.create_topics(wanted)).topic_errors:
        kind = for_code(code)
        if code and kind is not TopicAlreadyExistsError and not kind.retriable:
            raise KafkaUnavailable(f"Kafka refuses to make the topic {name}: {message or kind.description}")


async def _inspect(admin: AIOKafkaAdminClient, name: str, partitions: list[dict[str, Any]] | None) -> list[str]:
    if partitions is None:
        return [f"Kafka has no topic {name}; `milepost ingest` and `milepost ship` make it when they start"]
    settings = await _settings(admin, ConfigResourceType.TOPIC, name)
    found = [f"The topic {name} cannot be used: {_SETTLING}"] if _leaderless(partitions) else []
    return found + layout_faults(name, len(partitions), settings)


def layout_faults(name: str, partitions: int, settings: Mapping[str, str]) -> list[str]:
    """What a topic's layout would do to milepost, one sentence each."""
    wanted = LAYOUTS[name]
    said: list[str] = []
    if partitions < wanted.partitions:
        number = f"{partitions} partition{'s' * (partitions > 1)}"
        said.append(f"has {number}; with {wanted.partitions} more ingest processes can share it")
    for setting, value in wanted.settings.items():
        present = settings.get(setting, "")
        if setting in _AT_LEAST and present.isdigit() and int(present) >= int(value):
            continue
        if present != value:
            said.append(f"has {setting}={present}; set it to {value}, {_REASONS[setting]}")
    return [f"The topic {name} {sentence}" for sentence in said]


_AT_LEAST: Final = {"max.message.bytes"}
_REASONS: Final = {
    "cleanup.policy": "or records that are still needed are deleted",
    "retention.ms": "for a shorter one sends records again and again, and a longer one keeps visitors' data",
    "segment.ms": "or visitors' data outlive their retention",
    "max.message.bytes": "or batches are refused",
    "message.timestamp.type": "or what an edge with a wrong clock sends is refused, or deleted at once",
}
assert all(setting in _REASONS for layout in LAYOUTS.values() for setting in layout.settings)


async def _inspect_brokers(admin: AIOKafkaAdminClient) -> list[str]:
    nodes = [str(broker["node_id"]) for broker in (await admin.describe_cluster())["brokers"]]
    careless = [
        node
        for node in nodes
        if (await _settings(admin, ConfigResourceType.BROKER, node)).get("auto.create.topics.enable") == "true"
    ]
    return [
        f"Kafka's broker {node} has auto.create.topics.enable=true; turn it off, or topics with a wrong layout appear"
        for node in careless
    ]


async def _settings(admin: AIOKafkaAdminClient, kind: ConfigResourceType, name: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for response in await admin.describe_configs([ConfigResource(kind, name)]):
        for code, message, *_, entries in response.resources:
            if code:
                raise KafkaUnavailable(f"Kafka does not tell the settings of {name}: {message}")
            settings.update({entry[0]: entry[1] for entry in entries})
    return settings
