"""Whose click it was: addresses behind proxies that may be believed or not, the scheme they saw, and the country, with
and without data that can be read (api.md section 6, security X14).

The parser of one header: tests/unit/test_client_ip.py. Databases and lists: tests/unit/classify.
"""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from shared.data_dir import DataDir
from tests.integration.edge.harness import Edge, Valkey, await_true
from tests.integration.edge.hostile.exchange import LINK, click
from tests.unit.classify.builders import NESTED_BERLIN, write_mmdb


@pytest.fixture(scope="module")
def full(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Stores whole addresses, and believes 127.0.0.9 and 10.0.0.0/8."""
    settings = {"MILEPOST_IP_STORAGE": "full", "MILEPOST_TRUSTED_PROXIES": "127.0.0.9/32 10.0.0.0/8 2001:db8:f::/48"}
    with Edge(DataDir.at(tmp_path_factory.mktemp("full")), valkey.url, settings) as edge:
        yield edge


@pytest.mark.parametrize(
    ("lines", "ip"),
    [
        ([b"203.0.113.7"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ([b"1.1.1.1", b"203.0.113.7"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        ([b"1.1.1.1, 203.0.113.7", b"10.1.2.3", b"10.9.9.9,10.8.8.8"], "203.0.113.7"),
        ([b"203.0.113.7, 2001:db8:f::1"], "203.0.113.7"),
        ([b"10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ([b"192.168.1.1"], "192.168.1.1"),
        ([b"127.0.0.1"], "127.0.0.1"),
        ([b"203.0.113.7:4711"], "203.0.113.7"),
        ([b"[2001:db8::7]:4711"], "2001:db8::7"),
        ([b"2001:db8::7"], "2001:db8::7"),
        ([b"2001:DB8:0:0:0:0:0:7"], "2001:db8::7"),
        ([b"::ffff:203.0.113.7"], "203.0.113.7"),
        ([b"::ffff:cb00:7107"], "203.0.113.7"),
        ([b"203.0.113.7, ::ffff:10.1.2.3"], "203.0.113.7"),
        ([b"fe80::1%eth0"], "fe80::1"),
        ([b"garbage, 203.0.113.7"], "203.0.113.7"),
        ([b"garbage"], "127.0.0.9"),
        ([b"203.0.113.7, garbage"], "127.0.0.9"),
        ([b"203.0.113.7, 10.1.2.3, garbage"], "127.0.0.9"),
        ([b"203.0.113.7,"], "203.0.113.7"),
        ([b",,203.0.113.7, ,"], "203.0.113.7"),
        ([b""], "127.0.0.9"),
        ([b" , ,"], "127.0.0.9"),
        ([b"999.1.1.1"], "127.0.0.9"),
        ([b"0x7f.1"], "127.0.0.9"),
        ([b"203.0.113.07"], "127.0.0.9"),
        ([b"203.0.113.7:99999"], "127.0.0.9"),
        ([b"unknown"], "127.0.0.9"),
        ([b"_hidden"], "127.0.0.9"),
        ([b"for=203.0.113.7"], "127.0.0.9"),
        ([b"\xff\xff"], "127.0.0.9"),
        ([b"203.0.113.7;drop"], "127.0.0.9"),
        ([b", ".join(b"198.51.100.%d" % (n % 250) for n in range(500)) + b", 203.0.113.7"], "203.0.113.7"),
        ([b"203.0.113.7" + b", 10.0.0.1" * 700], "203.0.113.7"),
        ([b"203.0.113.7"] + [b"10.0.0.1"] * 90, "203.0.113.7"),
        ([b"1" * 8_000], "127.0.0.9"),
    ],
    ids=lambda value: "; ".join(line[:40].decode("latin-1") for line in value)[:60] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_proxy_is_believed_to_the_first_address_that_is_none(full: Edge, lines: list[bytes], ip: str) -> None:
    headers = [b"X-Forwarded-For: " + line for line in lines]
    _, event = click(full, LINK, *headers, source="127.0.0.9")
    assert ip_address(event["ip"]) == ip_address(ip)
    _, unbelieved = click(full, LINK, *headers, source="127.0.0.8")
    assert unbelieved["ip"] == "127.0.0.8"


def test_other_headers_name_nobody_even_from_a_proxy(full: Edge) -> None:
    names = (b"X-Real-IP", b"CF-Connecting-IP", b"True-Client-IP", b"X-Client-IP", b"X-Forwarded", b"Client-IP")
    lines = [name + b": 203.0.113.7" for name in names] + [b"Forwarded: for=203.0.113.7"]
    _, event = click(full, LINK, *lines, source="127.0.0.9")
    assert event["ip"] == "127.0.0.9"


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [([b"https"], "https"), ([b"http, https"], "https"), ([b"https", b"http"], "http"), ([b"gopher"], "http"),
     ([b"HTTPS"], "https"), ([b""], "http"), ([b"https\xff"], "http")],
    ids=str,
)  # fmt: skip
def test_the_scheme_is_believed_from_a_proxy_alone(full: Edge, lines: list[bytes], scheme: str) -> None:
    headers = [b"X-Forwarded-Proto: " + line for line in lines]
    assert click(full, LINK, *headers, source="127.0.0.9")[1]["details"]["scheme"] == scheme
    assert click(full, LINK, *headers, source="127.0.0.8")[1]["details"]["scheme"] == "http"


def ip_data(edge: Edge) -> str:
    return str(edge.admin("/healthz").json()["ip_data"])


def test_geo_data_missing_corrupt_and_mended(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Clicks are answered through all of it; health says which. A file that went bad never replaces a good one."""
    with Edge(DataDir.at(tmp_path_factory.mktemp("geo")), valkey.url) as edge:
        visitor = b"X-Forwarded-For: 203.0.113.7"
        assert click(edge, LINK, visitor)[1]["country"] == "ZZ"
        assert ip_data(edge) == "Not configured"

        edge.data_dir.ip.mkdir()
        database = edge.data_dir.ip / "city.mmdb"
        for number, content in enumerate((b"no database", b"", b"\xab\xcd\xefMaxMind.com\xff" * 3)):
            draft = database.with_suffix(f".{number}")
            draft.write_bytes(content)
            draft.rename(database)
            await_true(lambda: ip_data(edge) == "Degraded", "the broken file is told")
            assert click(edge, LINK, visitor)[1]["country"] == "ZZ"

        draft = database.with_suffix(".good")
        write_mmdb(draft, {"203.0.113.0/24": NESTED_BERLIN})
        whole = draft.read_bytes()
        draft.rename(database)
        await_true(lambda: ip_data(edge) == "Operational", "the good file is in use")
        assert click(edge, LINK, visitor)[1]["country"] == "DE"
        assert click(edge, LINK, b"X-Forwarded-For: 198.51.100.7")[1]["country"] == "ZZ"

        draft.write_bytes(whole[: len(whole) // 2])
        draft.rename(database)
        await_true(lambda: ip_data(edge) == "Degraded", "the torn file is told")
        assert click(edge, LINK, visitor)[1]["country"] == "DE"
        assert "Traceback" not in edge.log()
