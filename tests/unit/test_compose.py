"""Covers deploy/compose.yaml as far as it goes without containers: it can be read, is complete, holds no secret, and
names the Kafka that the tests run. That Kafka takes these settings: the names are those of a broker that runs here."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SERVICES = ("postgres", "valkey", "kafka")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    read = yaml.safe_load(text)
    assert isinstance(read, dict)
    return read


@pytest.fixture(scope="module")
def kafka(compose: dict[str, Any]) -> dict[str, str]:
    environment = compose["services"]["kafka"]["environment"]
    assert isinstance(environment, dict)
    return environment


def properties() -> dict[str, str]:
    lines = (DEPLOY / "kafka" / "server.properties").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def listeners(text: str) -> dict[str, str]:
    return dict(part.split("://", 1) for part in text.split(","))


def test_it_has_the_three_servers(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert set(images) == set(SERVICES)
    assert images["postgres"] == "postgres:18"
    assert images["valkey"].startswith("valkey/valkey:")


def test_its_kafka_is_the_one_the_tests_run(compose: dict[str, Any]) -> None:
    pinned = re.search(r"<kafka\.version>(.+)</kafka\.version>", (DEPLOY / "kafka" / "pom.xml").read_text())
    assert pinned is not None
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{pinned[1]}"


@pytest.mark.parametrize("name", SERVICES)
def test_each_keeps_its_data_comes_back_and_says_whether_it_works(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"])
    (volume,) = service["volumes"]
    assert volume.split(":")[0] in compose["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_each_listens_on_loopback_unless_told_otherwise(compose: dict[str, Any], name: str) -> None:
    (port,) = compose["services"][name]["ports"]
    assert re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", port).startswith("127.0.0.1:")


def test_no_password_is_written_down(compose: dict[str, Any]) -> None:
    found = [
        f"{name}: {variable}"
        for name, service in compose["services"].items()
        for variable, value in service["environment"].items()
        if re.search(r"PASSWORD|AUTH|SECRET", variable) and not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)
    ]
    assert found == []
    command = compose["services"]["valkey"]["command"]
    assert command[command.index("--requirepass") + 1] == "${VALKEY_PASSWORD:?}"


def test_kafka_advertises_what_it_listens_on_and_each_listener_has_a_protocol(kafka: dict[str, str]) -> None:
    open_on = listeners(kafka["KAFKA_LISTENERS"])
    advertised = listeners(kafka["KAFKA_ADVERTISED_LISTENERS"])
    assert set(advertised) | {kafka["KAFKA_CONTROLLER_LISTENER_NAMES"]} == set(open_on)
    assert all(advertised[name].rpartition(":")[2] == open_on[name].rpartition(":")[2] for name in advertised)
    assert {pair.split(":")[0] for pair in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")} == set(open_on)
    assert kafka["KAFKA_INTER_BROKER_LISTENER_NAME"] in advertised


def test_kafka_is_set_up_as_the_one_the_tests_run(kafka: dict[str, str]) -> None:
    """Addresses apart. So a misspelt name shows: the tests' broker would not know it either."""
    wanted = {
        "KAFKA_" + name.upper().replace(".", "_"): value
        for name, value in properties().items()
        if not re.search(r"listener|offsets\.topic\.num|state\.log\.num|dedupe", name)
    }
    assert {name: kafka.get(name) for name in wanted} == wanted
