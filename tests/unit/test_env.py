"""Covers reading the settings. That each setting stands in the README's table: test_house.py."""

import re

import pytest

from shared import env


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(env.SettingsError) as caught:
        env.load({env.PREFIX + name: value for name, value in environ.items()})
    return caught.value.problems


def test_defaults_are_the_contract() -> None:
    settings = env.load({})
    assert (settings.edge_host, settings.edge_port, settings.api_port, settings.edge_admin_port) == (
        "127.0.0.1",
        8080,
        8081,
        9080,
    )
    assert settings.edge_url == "http://localhost:8080"
    assert settings.durability == "fsync"
    assert settings.journal_max == 10 * 1024**3
    assert settings.journal_keep == 24 * 3600
    assert settings.data_dir.is_absolute()
    assert settings.ip_data_dir == settings.data_dir / "ip"


def test_the_urls_follow_the_ports() -> None:
    settings = env.load({"MILEPOST_EDGE_PORT": "9000", "MILEPOST_API_PORT": "9001"})
    assert (settings.edge_url, settings.api_url) == ("http://localhost:9000", "http://localhost:9001")


def test_all_bad_settings_are_named_at_once() -> None:
    found = problems(EDGE_PORT="eighty", DURABILITY="maybe", TRUSTED_PROXIES="10.0.0.0/8,nonsense", JOURNAL_KEEP="1w")
    assert [line.split(":")[0] for line in found] == [
        "MILEPOST_EDGE_PORT",
        "MILEPOST_DURABILITY",
        "MILEPOST_JOURNAL_KEEP",
        "MILEPOST_TRUSTED_PROXIES",
    ]


def test_an_unknown_name_is_an_error() -> None:
    assert problems(EGDE_PORT="80") == ("MILEPOST_EGDE_PORT: there is no such setting",)


def test_names_without_the_prefix_are_not_ours() -> None:
    assert env.load({"EDGE_PORT": "99"}).edge_port == 8080


def test_an_empty_value_means_the_default() -> None:
    assert env.load({"MILEPOST_EDGE_PORT": ""}).edge_port == 8080


def test_one_port_cannot_serve_twice() -> None:
    assert problems(API_PORT="8080") == ("MILEPOST_API_PORT: 8080 is already taken by MILEPOST_EDGE_PORT",)


@pytest.mark.parametrize(("text", "size"), [("5", 5), ("2 KiB", 2048), ("10GiB", 10 * 1024**3), ("1 TiB", 1024**4)])
def test_sizes(text: str, size: int) -> None:
    assert env.load({"MILEPOST_JOURNAL_MAX": text}).journal_max == size


def test_loopback_is_a_word_for_both_families() -> None:
    networks = env.load({"MILEPOST_TRUSTED_PROXIES": "loopback, 10.0.0.0/8"}).trusted_proxies
    assert [str(network) for network in networks] == ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("localhost:9092", "localhost:9092"),
        (" kafka-1.example.org:9092 , 10.0.0.2:19092", "kafka-1.example.org:9092,10.0.0.2:19092"),
        ("[::1]:9092", "[::1]:9092"),
        ("", None),
    ],
)
def test_kafka_brokers_are_host_and_port_apart_by_commas(text: str, read: str | None) -> None:
    assert env.load({"MILEPOST_KAFKA_BOOTSTRAP": text}).kafka_bootstrap == read


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("kafka", "kafka"),
        ("kafka:9092,kafka-2", "kafka-2"),
        ("kafka:9092,", ""),
        ("kafka:0", "kafka:0"),
        ("kafka:70000", "kafka:70000"),
        ("PLAINTEXT://kafka:9092", "PLAINTEXT://kafka:9092"),
        ("a:1 b:2", "a:1 b:2"),
        ("::1:9092", "::1:9092"),
    ],
)
def test_the_kafka_broker_that_is_none_is_named(text: str, wrong: str) -> None:
    (line,) = problems(KAFKA_BOOTSTRAP=text)
    assert line == f"MILEPOST_KAFKA_BOOTSTRAP: {wrong!r} is not host:port such as kafka-1.example.org:9092"


def test_every_problem_is_one_sentence_that_starts_with_the_setting() -> None:
    for setting in env.SETTINGS:
        if setting.name == "DATA_DIR" or setting.parse is env._text:
            continue
        (line,) = problems(**{setting.name: "\x00 no \x00"})
        assert re.fullmatch(rf"MILEPOST_{setting.name}: [^\n]+", line)
