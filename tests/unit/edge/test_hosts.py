"""Which Host headers the edge answers to. The answer to others is in integration/edge."""

import pytest

from edge.hosts import Hosts


@pytest.mark.parametrize("host", ["go.example", "GO.example", "go.example:8443", "go.example.", "go.example:"])
def test_the_host_of_the_edge_url_is_answered_on_any_port(host: str) -> None:
    assert Hosts("https://go.example", "0.0.0.0").answers(host.encode())


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:1", "LOCALHOST", "a.localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:8080"],
)
def test_every_loopback_name_is_answered_only_while_the_listener_is_on_loopback(host: str) -> None:
    assert Hosts("https://go.example", "127.0.0.1").answers(host.encode())
    assert Hosts("https://go.example", "::1").answers(host.encode())
    assert not Hosts("https://go.example", "0.0.0.0").answers(host.encode())


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "go.example.evil", "xgo.example", "go.example:80:80", "go.example:x", "[::1", "[::1]x", "\xff",
     "10.0.0.1", "localhost.evil.example", "@go.example"],
)  # fmt: skip
def test_other_hosts_are_not_answered(host: str) -> None:
    assert not Hosts("https://go.example", "127.0.0.1").answers(host.encode("latin-1"))


def test_an_ipv6_edge_url_is_compared_without_brackets() -> None:
    assert Hosts("http://[2001:db8::1]:8080", "0.0.0.0").answers(b"[2001:db8::1]:9")


def test_answers_are_remembered_within_bounds() -> None:
    hosts = Hosts("https://go.example", "0.0.0.0")
    for number in range(5_000):
        assert not hosts.answers(b"h%d.example" % number)
    assert hosts.known.count() <= 1_024
    assert hosts.answers(b"go.example")
