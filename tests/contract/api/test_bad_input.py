"""Bad values of every field and parameter: each one 400 in the envelope, naming the field.

Bodies that are no JSON object, and everything before the body, is test_envelope.py.
"""

import time
from typing import Any

import pytest

from tests.api_server import Api
from tests.builders import Connection, store_campaign

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTS = ("/api/v1/campaigns", "/api/v1/clicks", "/api/v1/conversions")
DATED = ("/api/v1/clicks", "/api/v1/conversions", "/api/v1/stats")

PAGES = [
    ("page", text) for text in ("0", "-1", "1e18", "abc", "", "1.5", "+1", " 1", "１", "0x1", "9" * 30, "\x00", "null")
] + [("per_page", text) for text in ("0", "101", "-5", "abc", "1e2", "")]
DAYS = [
    "2024-02-30", "2024-13-01", "2024-00-10", "10000-01-01", "tomorrow", "", "20240115", "2024-1-5", "2024-01-15T00:00",
    "0000-01-01", "２０２４-01-15", "2024-01-15\x00", "-001-01-01",
]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
async def test_pages_are_strict_numbers(api: Api, path: str) -> None:
    for name, text in PAGES:
        answer = await api.get(path, **{name: text})
        assert (answer.status, list(answer.error["details"])) == (400, [name]), (name, text)


@pytest.mark.parametrize("path", LISTS)
async def test_pages_too_far_back_are_refused(api: Api, path: str) -> None:
    assert (await api.get(path, page="1000", per_page="100")).status == 200
    answer = await api.get(path, page="1001", per_page="100")
    assert (answer.status, answer.error["code"]) == (400, "USE_CURSOR")


@pytest.mark.parametrize("path", DATED)
async def test_days_must_exist(api: Api, path: str) -> None:
    for name in ("from", "to"):
        for text in DAYS:
            answer = await api.get(path, **{name: text})
            assert (answer.status, list(answer.error["details"])) == (400, [name]), (name, text)


@pytest.mark.parametrize("path", DATED)
async def test_from_after_to_is_refused(api: Api, path: str) -> None:
    answer = await api.get(path, **{"from": "2024-02-01", "to": "2024-01-31"})
    assert (answer.status, list(answer.error["details"])) == (400, ["from"])


@pytest.mark.parametrize("path", DATED)
@pytest.mark.parametrize(
    ("first", "last"), [("0001-01-01", "0001-01-02"), ("9999-12-30", "9999-12-31"), ("0001-01-01", "9999-12-31")]
)
async def test_days_at_the_calendars_ends_are_days(api: Api, path: str, first: str, last: str) -> None:
    assert (await api.get(path, **{"from": first, "to": last})).status == 200


@pytest.mark.parametrize(
    ("path", "name", "text"),
    [
        ("/api/v1/campaigns", "status", "deleted"),
        ("/api/v1/campaigns", "status", ""),
        ("/api/v1/campaigns", "status", "ACTIVE"),
        ("/api/v1/clicks", "status", "human"),
        ("/api/v1/clicks", "status", "real,bot"),
        ("/api/v1/clicks", "country", "XX"),
        ("/api/v1/clicks", "country", "ZZ"),
        ("/api/v1/clicks", "country", "USA"),
        ("/api/v1/clicks", "country", ""),
        ("/api/v1/clicks", "country", "ŭs"),
        ("/api/v1/clicks", "campaign_id", "abc"),
        ("/api/v1/clicks", "campaign_id", "0"),
        ("/api/v1/clicks", "campaign_id", "-1"),
        ("/api/v1/clicks", "campaign_id", "1,2"),
        ("/api/v1/clicks", "cursor", "x"),
        ("/api/v1/clicks", "cursor", "AAAA" * 20),
        ("/api/v1/clicks", "cursor", "é"),
        ("/api/v1/conversions", "status", "duplicate"),
        ("/api/v1/conversions", "campaign_id", "1e3"),
        ("/api/v1/conversions", "cursor", ""),
        ("/api/v1/stats", "time_basis", "hour"),
    ],
)
async def test_filters_name_what_is_wrong(api: Api, path: str, name: str, text: str) -> None:
    answer = await api.get(path, **{name: text})
    assert (answer.status, answer.error["code"], list(answer.error["details"])) == (400, "VALIDATION_ERROR", [name])


BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "name": (None, "", "  ", 7, True, [], {}, "x" * 256, "a\nb", "a\x7fb"),
    "status": (None, "deleted", "Active", 1, ""),
    "traffic_source_id": (0, 29, 100, -1, 2**40, "1", True, 1.5),
    "cost_model": ("CPC", "cpl", "", 1),
    "cost_value": (-0.01, "0.50", True, 1_000_001, 0.0000001, 1e300, []),
    "default_payout": (-1, "1", 1e12, 1e-7),
    "max_payout": (-1, {}, 1e300),
    "max_click_cost": (-1, 1_000_001),
    "bot_action": (None, "drop", ""),
    "time_zone": ("Mars/Base", "", "utc+1", "../../etc/passwd", 5, "localtime"),
    "attribution_window_hours": (0, -1, 8761, 1.5, "24", None, True, 2**70),
    "duplicate_mode": (None, "sum"),
    "postback_security": (None, "none"),
    "postback_tokens": (
        None, "abcdefgh", ["short"], [1], ["a" * 129], ["a" * 9] * 3, ["a b c d e"], ["********abcd"],
    ),
    "allowed_ips": (None, ["x"], ["10.0.0.1/8"], [1], ["10.0.0.0/8"] * 101),
    **dict.fromkeys(
        ("id", "uuid", "tracking_url", "created_at", "updated_at", "clicks_today", "has_token"), (5, "x")
    ),
    "colour": ("red",),
    "": (1,),
    "account_id": (1,),
}  # fmt: skip
URLS = [
    "", " ", "javascript:alert(1)", "data:text/html,x", "//shop.example/", "/\\shop.example", "ftp://shop.example/",
    "file:///etc/passwd", "http://", "http:///x", "http://ho\tst.example/", "https://shop.example:99999/",
    "https://shop.example:0/", "https://shop.example:/", "https://user@shop.example/", "https://u:p@shop.example/",
    "https://{clickid}.shop.example/", "https://shop.example{clickid}/", "https://shop.example:{sub1}/",
    "https://shop.example/?x={nonsense}", "https://shop.example/{", "https://shop.example/ x", "https://0x7f.1/",
    "https://2130706433/", "https://shop%2eexample/", "https://[::1", "https://shop.example\\@evil.example/",
    "https://shöp.example/", "https://shop.example/\r\nSet-Cookie:x", "x" * 5000, "https://a/" + "x" * 5000, 7, ["x"],
    "HTTPS:shop.example",
]  # fmt: skip
BAD_VALUES |= {"destination_url": tuple(URLS), "fallback_url": tuple(URLS)}


async def test_every_bad_campaign_field_is_named(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    before = await owner_connection.fetch("SELECT * FROM campaigns ORDER BY id")
    for name, value in ((name, value) for name, values in BAD_VALUES.items() for value in values):
        for method, path, body in (
            ("POST", "/api/v1/campaigns", {"name": "x", "cost_model": "cpc"}),
            ("PUT", f"/api/v1/campaigns/{campaign}", {}),
        ):
            answer = await api.call(method, path, {**body, name: value})
            assert (answer.status, answer.error["code"]) == (400, "VALIDATION_ERROR"), (method, name, value)
            assert answer.error["message"] in answer.error["details"][name], (method, name, value)
    assert await owner_connection.fetch("SELECT * FROM campaigns ORDER BY id") == before


async def test_fields_that_need_each_other(api: Api) -> None:
    for body, field in (
        ({"name": "x", "cost_value": 1}, "cost_model"),
        ({"name": "x", "postback_security": "token"}, "postback_tokens"),
        ({"name": "x", "postback_security": "hmac", "postback_tokens": []}, "postback_tokens"),
    ):
        answer = await api.call("POST", "/api/v1/campaigns", body)
        assert answer.error["message"] == f"The {field} field is required"


async def test_all_bad_fields_are_named_at_once(api: Api) -> None:
    answer = await api.call("POST", "/api/v1/campaigns", {"status": "x", "traffic_source_id": 77, "colour": 1})
    assert answer.error["details"] == {
        "name": ["The name field is required"],
        "traffic_source_id": ["The selected traffic_source_id is invalid"],
        "status": ["The selected status is invalid"],
        "colour": ["The colour field does not exist"],
    }


async def test_query_and_body_may_not_contradict(api: Api) -> None:
    body = {"name": "x", "traffic_source_id": 1, "cost_model": "cpc", "cost_value": 0.5}
    answer = await api.call("POST", "/api/v1/campaigns?name=y", body)
    assert (answer.status, list(answer.error["details"])) == (400, ["name"])
    answer = await api.call("POST", "/api/v1/campaigns?name=x&cost_value=0.50&traffic_source_id=1", body)
    assert answer.status == 201


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("company_name", value) for value in (None, "", 1, "x" * 256)),
        *(("time_zone", value) for value in (None, "Nowhere/Land", 1)),
        *(("currency", value) for value in (None, "EURO", "E1R", "€€€", 978)),
        *(("fallback_url", value) for value in ("javascript:x", 1, "")),
        ("plan", "unlimited"),
        ("id", "acc_other"),
        ("status", "suspended"),
        ("owner", "x"),
    ],
)
async def test_bad_account_fields(api: Api, name: str, value: Any) -> None:
    answer = await api.call("PATCH", "/api/v1/account", {name: value})
    assert (answer.status, list(answer.error["details"])) == (400, [name])


@pytest.mark.parametrize(
    "body",
    [
        {}, {"email": "a@b.example"}, {"password": "x"}, {"email": "", "password": "x"}, {"email": 1, "password": "x"},
        {"email": "a@b.example", "password": ""}, {"email": "a@b.example", "password": None},
        {"email": "a@b.example", "password": ["x"]}, {"email": "no address", "password": "x"},
        {"email": "a@b.example", "password": "x" * 1025}, {"email": "a" * 250 + "@b.example", "password": "x"},
        {"email": "a@b.example", "password": "x", "api_key": "mpk_x"},
    ],
)  # fmt: skip
async def test_bad_logins_are_400(server: Api, body: object) -> None:
    answer = await server.call("POST", "/api/v1/auth/token", body)
    assert (answer.status, answer.error["code"]) == (400, "VALIDATION_ERROR")


async def test_bad_conversions_are_named_or_have_a_reason(api: Api, owner_connection: Connection) -> None:
    campaign = await store_campaign(owner_connection, api.account_id)
    good = api.ids.issue(campaign, time.time_ns() // 1_000_000)
    forged = good[:-1] + ("A" if good[-1] != "A" else "B")
    table: list[tuple[dict[str, Any], str]] = [
        ({"click_id": None}, "click_id"), ({"click_id": ""}, "click_id"), ({"click_id": 5}, "click_id"),
        ({"click_id": "abc"}, "INVALID_CLICK_ID"), ({"click_id": forged}, "INVALID_CLICK_ID"),
        ({"click_id": good.upper()}, "INVALID_CLICK_ID"), ({"click_id": "{clickid}"}, "UNEXPANDED_MACRO"),
        ({"payout": "45"}, "payout"), ({"payout": True}, "payout"), ({"payout": 1e13}, "payout"),
        ({"payout": 0.0000001}, "payout"), ({"payout": -5}, "INVALID_PAYOUT"), ({"payout": [45]}, "payout"),
        ({"payout": -5, "status": "pending"}, "INVALID_PAYOUT"),
        ({"status": "done"}, "status"), ({"status": None}, "status"), ({"status": "APPROVED"}, "status"),
        ({"transaction_id": 5}, "transaction_id"), ({"transaction_id": "x" * 129}, "INVALID_TRANSACTION_ID"),
        ({"transaction_id": "a\tb"}, "transaction_id"), ({"transaction_id": "{txid}"}, "UNEXPANDED_MACRO"),
        ({"event": "x" * 129}, "INVALID_TRANSACTION_ID"), ({"event": {}}, "event"),
        ({"currency": "EURO"}, "currency"), ({"currency": 5}, "currency"), ({"amount": 5}, "amount"),
    ]  # fmt: skip
    for change, expected in table:
        answer = await api.call("POST", "/api/v1/conversions", {"click_id": good, "payout": 45, **change})
        assert (answer.status, answer.error["code"]) == (400, "VALIDATION_ERROR"), change
        details = answer.error["details"]
        assert expected in details or details == {"reason": [expected]}, (change, details)
    assert await owner_connection.fetchval("SELECT count(*) FROM postbacks WHERE account_id = $1", api.account_id) == 0


@pytest.mark.parametrize("number", ["0", "-1", "abc", "1.0", "2147483648", "9" * 40, "１", "1%00", "%ff", "null"])
async def test_an_id_that_can_be_none_is_404(api: Api, number: str) -> None:
    for method, path in (("GET", "{}"), ("PUT", "{}"), ("DELETE", "{}"), ("GET", "{}/stats")):
        answer = await api.call(method, f"/api/v1/campaigns/{path.format(number)}", {} if method == "PUT" else None)
        assert answer.status == 404, (method, number)


@pytest.mark.parametrize(
    "text", ["x", "clk_", "clk_" + "A" * 36, "clk_" + "é" * 36, "conv_" + "0" * 32, "conv_x", "%00"]
)
async def test_an_unknown_click_or_conversion_is_404(api: Api, text: str) -> None:
    assert (await api.get(f"/api/v1/clicks/{text}")).status == 404
    assert (await api.get(f"/api/v1/conversions/{text}")).status == 404
