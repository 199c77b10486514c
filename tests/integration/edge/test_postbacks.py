"""Postbacks over HTTP against the real processes: answers exactly as api.md section 1 shows them, and the event that
each call left. What a call means for its conversion belongs to fold.
"""

import itertools
import time
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest

from edge.postbacks import signature
from shared import postback
from shared.campaigns import CampaignRow
from shared.events import STRANGER_REASONS, Event
from shared.ids import ClickIds, KeyRing, conversion_id
from tests.integration.edge import rows
from tests.integration.edge.harness import Answer, Edge, await_true

PATH = "/api/v1/postback"
HOUR_MS = 3_600_000
_serial = itertools.count()


def click_id(edge: Edge, campaign: CampaignRow = rows.ACTIVE, age_ms: int = 5_000) -> str:
    return edge.click_ids().issue(campaign.id, time.time_ns() // 1_000_000 - age_ms)


def call(edge: Edge, **parameters: str) -> Answer:
    """From an address of its own: refused calls of one address are kept within a budget (test_strangers.py)."""
    number = next(_serial)
    sender = f"198.18.{number >> 8 & 255}.{number & 255}"
    return edge.get(f"{PATH}?{urlencode(parameters, quote_via=quote)}", X_Forwarded_For=sender)


def stored(edge: Edge, click: str) -> list[Event]:
    return [event for event in edge.postbacks() if event["click_id"] == click]


def error(code: str, message: str, reason: str | None) -> dict[str, Any]:
    details = {} if reason is None else {"reason": [reason]}
    return {"success": False, "error": {"code": code, "message": message, "details": details}}


def test_a_postback_is_answered_as_the_contract_shows_and_stored(edge: Edge) -> None:
    click = click_id(edge)
    answer = call(edge, clickid=click, payout="45.00", txid="T-1")
    expected = conversion_id(1, edge.click_ids().prove(click).raw, "", "T-1")
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert answer.body == orjson.dumps(
        {"success": True, "data": {"conversion_id": expected, "click_id": click, "status": "approved"}}
    )
    (event,) = stored(edge, click)
    assert event["conversion_id"] == expected
    assert (event["account"], event["campaign"]) == (1, 1)
    assert (event["payout"], event["currency"], event["transaction_id"]) == ("45.00", "USD", "T-1")
    assert (event["reason"], event["http_status"], event["security"], event["trusted"]) == (0, 200, "open", False)
    assert (event["method"], event["origin"], event["time"]) == ("GET", "postback", None)
    assert abs(event["ts"] - time.time() * 1000) < 10_000


def test_repeats_get_the_identical_answer_and_each_is_stored(edge: Edge) -> None:
    click = click_id(edge)
    answers = [call(edge, clickid=click, payout="1", txid="T-2") for _ in range(3)]
    assert len({answer.body for answer in answers}) == 1
    events = stored(edge, click)
    assert len({event["id"] for event in events}) == 3
    assert len({event["conversion_id"] for event in events}) == 1


def test_only_mode_new_without_a_transaction_makes_each_call_its_own_conversion(edge: Edge) -> None:
    click = click_id(edge, rows.ALWAYS_NEW)
    bare = [call(edge, clickid=click).json()["data"]["conversion_id"] for _ in range(2)]
    named = [call(edge, clickid=click, txid="T").json()["data"]["conversion_id"] for _ in range(2)]
    assert len(set(bare)) == 2
    assert len(set(named)) == 1
    assert {event["duplicate_mode"] for event in stored(edge, click)} == {"new"}


@pytest.mark.parametrize("name", ["clickid", "click_id", "CLICKID", "Click-Id", "cid", "subid", "cnv_id", "hit"])
def test_the_click_id_has_many_names(edge: Edge, name: str) -> None:
    assert call(edge, **{name: click_id(edge)}).status == 200


def test_what_the_campaign_says_at_arrival_is_kept(edge: Edge) -> None:
    click = click_id(edge, rows.LIMITED)
    assert call(edge, clickid=click, status="pending", event="signup", time="1700000000").status == 200
    (event,) = stored(edge, click)
    assert (event["payout"], event["default_payout"]) == (None, "2.5")
    assert (event["cost_model"], event["cost_value"]) == ("cpa", "1.5")
    assert (event["status"], event["event"], event["time"]) == ("pending", "signup", 1_700_000_000_000)


def test_return_asks_for_plain_text(edge: Edge) -> None:
    answer = call(edge, clickid=click_id(edge), **{"return": "OK; 1=done"})
    assert (answer.status, answer.body) == (200, b"OK; 1=done")
    assert answer.header("content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("wanted", ["<script>", "x" * 33, ""])
def test_a_text_that_may_not_be_returned_gives_json(edge: Edge, wanted: str) -> None:
    assert call(edge, clickid=click_id(edge), **{"return": wanted}).json()["success"] is True


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"payout": "1,5"}, "INVALID_PAYOUT"),
        ({"payout": "1e3"}, "INVALID_PAYOUT"),
        ({"payout": "-1"}, "INVALID_PAYOUT"),
        ({"payout": "{payout}"}, "UNEXPANDED_MACRO"),
        ({"txid": "${TRANSACTION}"}, "UNEXPANDED_MACRO"),
        ({"status": "maybe"}, "UNKNOWN_STATUS"),
        ({"txid": "x" * 129}, "INVALID_TRANSACTION_ID"),
        ({"txid": "a\x00b"}, "INVALID_TRANSACTION_ID"),
    ],
)
def test_a_malformed_call_of_a_known_click_is_refused_and_stored(
    edge: Edge, parameters: dict[str, str], reason: str
) -> None:
    click = click_id(edge)
    answer = call(edge, clickid=click, **parameters)
    assert answer.status == 400
    body = answer.json()
    assert body["error"]["code"] == "VALIDATION_ERROR"
    assert body["error"]["details"] == {"reason": [reason]}
    (event,) = stored(edge, click)
    assert postback.REASONS[event["reason"]][0] == reason
    assert event["http_status"] == 400


def test_a_refusal_reads_exactly_like_this(edge: Edge) -> None:
    answer = call(edge, clickid=click_id(edge), payout="much")
    assert answer.json() == error("VALIDATION_ERROR", "The payout is not a plain amount", "INVALID_PAYOUT")


FOREIGN = ClickIds(KeyRing.generate())


@pytest.mark.parametrize(
    ("click", "reason"),
    [
        ("", "MISSING_CLICK_ID"),
        ("  ", "MISSING_CLICK_ID"),
        ("{clickid}", "UNEXPANDED_MACRO"),
        ("nonsense", "INVALID_CLICK_ID"),
        ("clk_" + "A" * 36, "INVALID_CLICK_ID"),
        pytest.param(FOREIGN.issue(1, 1_790_000_000_000), "INVALID_CLICK_ID", id="of another installation"),
        ("clk_\xff", "INVALID_CLICK_ID"),
        ("clk_" + "é" * 36, "INVALID_CLICK_ID"),
    ],
)
def test_a_click_id_that_proves_nothing_is_refused_and_stored_under_no_campaign(
    edge: Edge, click: str, reason: str
) -> None:
    before = len(edge.postbacks())
    mark = f"T-{next(_serial)}"
    answer = call(edge, clickid=click, txid=mark)
    assert answer.status == 400
    assert answer.json()["error"]["details"] == {"reason": [reason]}

    def kept() -> list[Event]:
        return [event for event in edge.strangers() if event["query"].endswith(f"txid={mark}")]

    await_true(kept, "the call is kept: its answer did not wait for that")
    (event,) = kept()
    assert STRANGER_REASONS[event["reason"]] == reason
    assert len(edge.postbacks()) == before


def test_a_click_of_a_campaign_that_is_not_known_is_refused(edge: Edge) -> None:
    answer = call(edge, clickid=click_id(edge, rows.row(999)))
    assert (answer.status, answer.json()["error"]["details"]) == (400, {"reason": ["INVALID_CLICK_ID"]})


def test_the_key_next_to_come_is_asked_to_come_again(edge: Edge) -> None:
    text = edge.data_dir.key_ring.read_text()
    newer = ClickIds(KeyRing.from_text(f"2:{'ab' * 32},{text}"))
    answer = call(edge, clickid=newer.issue(1, time.time_ns() // 1_000_000))
    assert (answer.status, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")
    assert int(answer.header("retry-after") or 0) > 0


def test_a_click_older_than_the_window_is_gone_and_the_call_stored(edge: Edge) -> None:
    young, old = click_id(edge, rows.LIMITED, 23 * HOUR_MS), click_id(edge, rows.LIMITED, 25 * HOUR_MS)
    assert call(edge, clickid=young).status == 200
    answer = call(edge, clickid=old)
    assert answer.status == 410
    assert answer.json()["error"]["code"] == "CLICK_EXPIRED"
    (event,) = stored(edge, old)
    assert (event["reason"], event["http_status"]) == (postback.CLICK_EXPIRED, 410)


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("token-new", 200, 0),
        ("token-old", 200, 0),
        ("wrong", 403, postback.BAD_TOKEN),
        ("", 403, postback.BAD_TOKEN),
    ],
)
def test_a_token_is_needed_where_the_campaign_says_so_and_never_written(
    edge: Edge, token: str, status: int, reason: int
) -> None:
    click = click_id(edge, rows.WITH_TOKEN)
    answer = call(edge, clickid=click, status="refunded", payout="-3", token=token)
    assert answer.status == status
    (event,) = stored(edge, click)
    assert (event["reason"], event["security"], event["trusted"]) == (reason, "token", status == 200)
    assert "token=***" in event["query"]
    assert not token or token not in str(event)
    if status == 403:
        assert answer.json()["error"] == {
            "code": "AUTHORIZATION_ERROR",
            "message": "The token is missing or wrong",
            "details": {"reason": ["BAD_TOKEN"]},
        }


def test_a_signed_call_opens_once(edge: Edge) -> None:
    click = click_id(edge, rows.WITH_HMAC)
    signed = {"clickid": click, "payout": "5", "ts": str(int(time.time())), "nonce": f"n{next(_serial)}"}
    signed["sig"] = signature("signing-key", list(signed.items()))
    assert call(edge, **{**signed, "payout": "500"}).status == 403
    assert call(edge, **signed).status == 200
    replay = call(edge, **signed)
    assert (replay.status, replay.json()["error"]["details"]) == (403, {"reason": ["BAD_SIGNATURE"]})
    assert [event["reason"] for event in stored(edge, click)] == [postback.BAD_SIGNATURE, 0, postback.BAD_SIGNATURE]
    assert signed["sig"] not in str(stored(edge, click))


@pytest.mark.parametrize(("sender", "status"), [("198.51.100.9", 200), ("203.0.113.9", 403)])
def test_only_listed_addresses_may_call(edge: Edge, sender: str, status: int) -> None:
    click = click_id(edge, rows.WITH_ADDRESSES)
    assert edge.get(f"{PATH}?clickid={click}", X_Forwarded_For=sender).status == status
    (event,) = stored(edge, click)
    assert event["http_status"] == status


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"status": "refunded", "payout": "-1"}, postback.HELD_TAKING),
        ({"status": "rejected"}, postback.HELD_TAKING),
        ({"payout": "10.01"}, postback.HELD_PAYOUT),
    ],
)
def test_what_an_open_call_may_not_do_is_stored_as_held_and_answered_200(
    edge: Edge, parameters: dict[str, str], reason: int
) -> None:
    click = click_id(edge, rows.LIMITED)
    answer = call(edge, clickid=click, **parameters)
    assert answer.status == 200
    assert answer.json()["data"]["status"] == parameters.get("status", "approved")
    (event,) = stored(edge, click)
    assert (event["reason"], event["http_status"]) == (reason, 200)


@pytest.mark.parametrize(
    ("campaign", "reason", "currency"),
    [
        (rows.OF_SUSPENDED, postback.SUSPENDED_ACCOUNT, "USD"),
        (rows.OF_EURO_ACCOUNT, postback.SUSPENDED_ACCOUNT, "EUR"),
        (rows.DELETED, postback.DELETED_CAMPAIGN, "USD"),
        (rows.PAUSED, postback.ACCEPTED, "USD"),
    ],
)
def test_suspended_and_deleted_ones_still_take_conversions(
    edge: Edge, campaign: CampaignRow, reason: int, currency: str
) -> None:
    click = click_id(edge, campaign)
    assert call(edge, clickid=click, payout="1").status == 200
    (event,) = stored(edge, click)
    assert (event["reason"], event["currency"]) == (reason, currency)


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [
        ("application/x-www-form-urlencoded", lambda fields: urlencode(fields).encode()),
        ("application/x-www-form-urlencoded; charset=utf-8", lambda fields: urlencode(fields).encode()),
        ("application/json", orjson.dumps),
        ("Application/JSON; charset=utf-8", orjson.dumps),
    ],
)
def test_a_body_says_the_same_as_a_query(edge: Edge, content_type: str, encode: Any) -> None:
    click = click_id(edge)
    answer = edge.post(PATH, encode({"clickid": click, "payout": "3.5", "token": "hush"}), content_type)
    assert answer.status == 200
    (event,) = stored(edge, click)
    assert (event["payout"], event["method"]) == ("3.5", "POST")
    assert "token=***" in event["query"]
    assert "hush" not in str(event)


def test_query_and_body_come_together(edge: Edge) -> None:
    click = click_id(edge)
    assert edge.post(f"{PATH}?clickid={click}", b'{"payout": 3.50}', "application/json").status == 200
    (event,) = stored(edge, click)
    assert event["payout"] == "3.50"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"x" * 16_385, "application/json", 413, "PAYLOAD_TOO_LARGE"),
        (b"payout=1", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"payout=1", "multipart/form-data; boundary=x", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"payout=1", None, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"{", "application/json", 400, "VALIDATION_ERROR"),
        (b'{"payout":1,"payout":2}', "application/json", 400, "VALIDATION_ERROR"),
        (b'{"payout":NaN}', "application/json", 400, "VALIDATION_ERROR"),
        (b"payout=2", "application/x-www-form-urlencoded", 400, "VALIDATION_ERROR"),
    ],
)
def test_bodies_that_cannot_be_taken(edge: Edge, body: bytes, content_type: str | None, status: int, code: str) -> None:
    answer = edge.post(f"{PATH}?clickid={click_id(edge)}&payout=1", body, content_type)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_an_endless_body_without_a_length_is_cut_off(edge: Edge) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % PATH.encode()
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    received = edge.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 8)
    assert b" 413 " in received.splitlines()[0]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 405), ("PUT", 405), ("DELETE", 405), ("OPTIONS", 204)])
def test_other_verbs_store_nothing(edge: Edge, method: str, status: int) -> None:
    click = click_id(edge)
    answer = edge.get(f"{PATH}?clickid={click}", method)
    assert answer.status == status
    assert answer.header("allow") == "GET, POST, OPTIONS"
    assert stored(edge, click) == []


def test_a_prefetched_postback_is_put_off(edge: Edge) -> None:
    click = click_id(edge)
    answer = edge.get(f"{PATH}?clickid={click}", Sec_Purpose="prefetch")
    assert (answer.status, answer.header("cache-control")) == (503, "no-store")
    assert stored(edge, click) == []


def test_no_call_of_all_these_was_an_error_of_the_program(edge: Edge) -> None:
    assert "milepost_edge_errors_total 0.0\n" in edge.admin("/metrics").body.decode()
    assert "Traceback" not in edge.log()
