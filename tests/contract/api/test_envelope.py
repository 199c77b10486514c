"""The envelope at the border: every error of every route, headers, hosts, transport, body reading.

Which value a field takes is test_bad_input.py; who may do what is tests/integration/api.
"""

import asyncio
from collections.abc import Mapping

import orjson
import pytest

from management.api.routes import ROUTES
from shared.ids import KeyRing
from tests.api_server import Answer, Api, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODY_ROUTES = [(route.method, route.path) for route in ROUTES if route.body and "{id}" not in route.path]


def assert_envelope(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.body["success"], answer.error["code"]) == (status, False, code), answer.raw
    assert set(answer.error) == {"code", "message", "details"}
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/api/v1", "/api/v1/", "/api/v1/campaigns/", "/api/v1/campaigns/1/", "/api/v1//clicks",
             "/api/v1/campaigns/1/stats/x", "/API/V1/STATS", "/api/v1/%2e%2e/x", "/api/v1/clicks/%ff%00/x"],
)  # fmt: skip
async def test_an_unknown_address_is_404_in_the_envelope(server: Api, path: str) -> None:
    assert_envelope(await server.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/campaigns", "GET, POST"),
        ("PATCH", "/api/v1/campaigns/1", "GET, PUT, DELETE"),
        ("POST", "/api/v1/stats", "GET"),
        ("OPTIONS", "/api/v1/clicks", "GET"),
        ("GET", "/api/v1/auth/token", "POST"),
        ("PUT", "/healthz", "GET"),
    ],
)
async def test_a_wrong_method_names_all_right_ones(server: Api, method: str, path: str, allow: str) -> None:
    answer = await server.call(method, path)
    assert_envelope(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == allow


async def test_head_is_not_served(server: Api) -> None:
    assert (await server.call("HEAD", "/api/v1/campaigns")).status == 405


BAD_BODIES = {
    "not JSON": b"{",
    "nothing": b"",
    "a list": b"[1]",
    "a string": b'"name"',
    "a number": b"1",
    "null": b"null",
    "not UTF-8": b'{"name":"\xff"}',
    "UTF-16": '{"name":"x"}'.encode("utf-16"),
    "a repeated name": b'{"name":"a","name":"b"}',
    "a repeated name deep inside": b'{"name":{"x":1,"x":2}}',
    "NaN": b'{"name":NaN}',
    "Infinity": b'{"name":-Infinity}',
    "a lone surrogate": b'{"name":"\\ud800"}',
    "a lone surrogate as name": b'{"\\udfff":1}',
    "NUL": b'{"name":"a\\u0000b"}',
    "33 levels": b'{"name":' + b"[" * 32 + b"]" * 32 + b"}",
    "a million levels": b"[" * 500_000,
    "a number of 5,000 digits": b'{"name":' + b"9" * 5_000 + b"}",
    "an exponent past all bounds": b'{"name":1e99999999999999999999}',
    "two documents": b'{"name":"x"}{"name":"y"}',
    "a byte order mark": b'\xef\xbb\xbf{"name":"x"}',
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_body_two_readers_could_read_differently_is_refused(api: Api, case: str) -> None:
    for method, path in BODY_ROUTES:
        assert_envelope(await api.call(method, path, raw=BAD_BODIES[case]), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json", "application/json; charset=utf-16"]
)
async def test_a_body_of_another_type_is_415(api: Api, content_type: str) -> None:
    answer = await api.call("POST", "/api/v1/campaigns", {"name": "x"}, headers={"Content-Type": content_type})
    assert_envelope(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


async def test_json_with_a_charset_is_taken(api: Api) -> None:
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert (await api.call("POST", "/api/v1/campaigns", {"name": "x"}, headers=headers)).status == 201


async def test_a_megabyte_is_read_and_one_byte_more_is_413(api: Api) -> None:
    body = b'{"name":"x"' + b" " * (1_048_576 - 12) + b"}"
    assert (await api.call("POST", "/api/v1/campaigns", raw=body)).status == 201
    assert_envelope(await api.call("POST", "/api/v1/campaigns", raw=body + b" "), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "127.0.0.2"])
@pytest.mark.parametrize("path", ["/api/v1/stats", "/healthz", "/nope", "/docs"])
async def test_another_host_is_421(server: Api, host: str, path: str) -> None:
    assert_envelope(await server.call("GET", path, headers={"Host": host}), 421, "MISDIRECTED")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]", "[::1]:8081"])
async def test_loopback_names_are_served_with_any_port(server: Api, host: str) -> None:
    assert (await server.call("GET", "/healthz", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("forwarded", "code"),
    [
        ({"X-Forwarded-For": "203.0.113.9"}, "HTTPS_REQUIRED"),
        ({"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}, "HTTPS_REQUIRED"),
        ({"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}, "AUTHENTICATION_ERROR"),
        ({"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https, http"}, "HTTPS_REQUIRED"),
        ({"X-Forwarded-For": "garbage"}, "AUTHENTICATION_ERROR"),
        ({}, "AUTHENTICATION_ERROR"),
    ],
)
async def test_a_credential_over_http_from_beyond_loopback_is_refused(
    server: Api, forwarded: Mapping[str, str], code: str
) -> None:
    headers = {"Authorization": "Bearer x", **forwarded}
    answer = await server.call("GET", "/api/v1/stats", headers=headers)
    assert answer.error["code"] == code
    login = {"email": "a@b.example", "password": "x"}
    answer = await server.call("POST", "/api/v1/auth/token", login, headers=forwarded)
    assert answer.error["code"] == code


async def test_forwarded_headers_of_a_stranger_are_not_believed(
    database_url: str, redis_url: str, ring: KeyRing
) -> None:
    configured = settings(database_url, redis_url, TRUSTED_PROXIES="10.0.0.0/8", API_HOSTS="api.example.com")
    async with serving(configured, ring) as api:
        headers = {"Host": "api.example.com", "Authorization": "Bearer x", "X-Forwarded-Proto": "https"}
        assert (await api.call("GET", "/api/v1/stats", headers=headers)).error["code"] == "HTTPS_REQUIRED"
        assert (await api.call("GET", "/api/v1/stats")).status == 421
        assert (await api.get("/readyz")).status == 200


async def test_http_is_taken_where_the_operator_says_so(database_url: str, redis_url: str, ring: KeyRing) -> None:
    async with serving(settings(database_url, redis_url, ALLOW_HTTP="true"), ring) as api:
        headers = {"Authorization": "Bearer x", "X-Forwarded-For": "203.0.113.9"}
        assert (await api.call("GET", "/api/v1/stats", headers=headers)).status == 401


async def test_hsts_over_https_only(server: Api) -> None:
    assert "Strict-Transport-Security" not in (await server.get("/healthz")).headers
    secure = await server.call("GET", "/healthz", headers={"X-Forwarded-Proto": "https"})
    assert "max-age" in secure.headers["Strict-Transport-Security"]


async def test_a_request_id_is_kept_where_it_is_harmless(server: Api) -> None:
    kept = await server.call("GET", "/healthz", headers={"X-Request-Id": "trace-7.1_a"})
    assert kept.headers["X-Request-Id"] == "trace-7.1_a"
    for harmful in ("a b", "x" * 65, "<script>", ""):
        other = await server.call("GET", "/healthz", headers={"X-Request-Id": harmful})
        assert other.headers["X-Request-Id"] != harmful


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
async def test_the_operators_pages_want_loopback_or_the_token(
    database_url: str, redis_url: str, ring: KeyRing, path: str
) -> None:
    far = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    async with serving(settings(database_url, redis_url, METRICS_TOKEN="let-me-see"), ring) as api:
        assert (await api.get(path)).status == 200
        assert_envelope(await api.call("GET", path, headers=far), 403, "AUTHORIZATION_ERROR")
        wrong = await api.call("GET", path, headers={**far, "Authorization": "Bearer let-me-sea"})
        assert_envelope(wrong, 403, "AUTHORIZATION_ERROR")
        right = await api.call("GET", path, headers={**far, "Authorization": "Bearer let-me-see"})
        assert right.status == 200


async def test_the_first_of_a_repeated_parameter_counts_and_semicolons_are_text(api: Api) -> None:
    answer = await api.get("/api/v1/campaigns?per_page=7&per_page=abc")
    assert answer.body["meta"]["per_page"] == 7
    answer = await api.get("/api/v1/campaigns?x=1;per_page=7")
    assert answer.body["meta"] == {"page": 1, "per_page": 20, "total": 0, "ignored": ["x"]}


async def test_unknown_parameters_are_told_on_every_kind_of_answer(api: Api) -> None:
    for path in ("/api/v1/account", "/api/v1/stats", "/api/v1/campaigns", "/api/v1/clicks", "/api/v1/conversions"):
        assert (await api.get(path, limit="5", page2="x")).body["meta"]["ignored"] == ["limit", "page2"], path


@pytest.mark.parametrize(
    "request_bytes",
    [b"NOT HTTP\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n"],
)
async def test_bytes_that_are_no_http_get_the_envelope_too(server: Api, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(request_bytes)
    raw = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(body)["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: a b\r\n"])
async def test_a_request_without_one_clear_host_is_400(server: Api, hosts: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    raw = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    assert raw.startswith(b"HTTP/1.1 400 ")
    assert b'"success":false' in raw
