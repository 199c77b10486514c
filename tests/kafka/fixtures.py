"""The broker's fixtures, for every test folder (tests/conftest.py names this module as a plugin).

`kafka`      the session's broker (one an xdist worker), running, both topics new and empty: about 0.3 s a test
`own_kafka`  a broker of the test's own, running, without topics: about 5 s a test. For what would spoil the other

A test may do anything to `kafka` but close it: before the next one it is started again, thawed, its topics made anew.
"""

import asyncio
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from management.ingest.sources.kafka_topics import ensure_topics
from tests.kafka.broker import Broker
from tests.kafka.topics import delete_topics


@pytest.fixture(scope="session")
def kafka_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the session, started. Tests take `kafka`."""
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        broker.start()
        yield broker


@pytest.fixture
async def kafka(kafka_of_session: Broker) -> Broker:
    """The session's broker, running, with both topics new and empty."""
    await asyncio.to_thread(kafka_of_session.start)
    await delete_topics(kafka_of_session.bootstrap)
    await ensure_topics(kafka_of_session.bootstrap)
    return kafka_of_session


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, running, without topics."""
    with Broker(tmp_path / "kafka") as broker:
        broker.start()
        yield broker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the broker wrote about itself, beside what a failed test printed."""
    report = yield
    if isinstance(item, pytest.Function) and report.failed:
        for broker in {value for value in item.funcargs.values() if isinstance(value, Broker)}:
            report.sections.append((f"log of the broker at {broker.bootstrap}", broker.log()))
    return report
