"""Covers how a dead letter is shown: secrets masked in every form they come in, nothing that steers a terminal, and
what the filters of the command line mean."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from management.deadletters.masking import scrubbed
from management.deadletters.shown import earliest, kind_name, payload_text, stream_range

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clickid=a&token=s3cret&x=1", "clickid=a&token=***&x=1"),
        ("api_key=s3cret", "api_key=***"),
        ("API-Key=s3cret&a=b", "API-Key=***&a=b"),
        ("api%5Fkey=s3cret", "api%5Fkey=***"),
        ("access_token=s3cret", "access_token=***"),
        ("sign=s3cret&signature=s3cret&sig=s3cret", "sign=***&signature=***&sig=***"),
        ("client_secret=s3cret", "client_secret=***"),
        ("password=s3cret&passwd=s3cret&pwd=s3cret", "password=***&passwd=***&pwd=***"),
        ("key=s3cret&keyword=shoes&design=flat", "key=***&keyword=shoes&design=flat"),
        ("/back?to=%2Fx%3Ftoken%3Ds3cret%26a%3Db", "/back?to=%2Fx%3Ftoken%3D***%26a%3Db"),
        ('{"query":"a=b&token=s3cret","ip":"::1"}', '{"query":"a=b&token=***","ip":"::1"}'),
        ('{"token":"s3cret s3cret","security":"token"}', '{"token":"***","security":"token"}'),
        ('{"token" : 12345, "a":1}', '{"token" : "***", "a":1}'),
        (r'{"secret":"s3\"cret","a":1}', '{"secret":"***","a":1}'),
        ('{"a":1,"api_key":"s3cre', '{"a":1,"api_key":"***"'),
        (r'{"body":"{\"token\":\"s3cret\",\"a\":1}"}', r'{"body":"{\"token\":\"***\",\"a\":1}"}'),
        ("token=s3%26cret&a=b", "token=***&a=b"),
        ("auth[token]=s3cret&tags[]=a", "auth[token]=***&tags[]=a"),
        ("no secrets here: a=b", "no secrets here: a=b"),
    ],
)
def test_values_of_secrets_are_masked(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def test_masking_comes_before_cutting_bytes_to_text() -> None:
    assert payload_text(b"token=s3cr\xffet&a=1") == "token=***&a=1"


@pytest.mark.parametrize(
    "text",
    ["a" * 65_536, "\\" * 65_536, "%2F" * 20_000, '"' * 65_536, '"a":' * 16_000, "a=" * 30_000, "token=" * 10_000],
)
def test_no_payload_takes_long(text: str) -> None:
    begun = time.process_time()
    scrubbed(text)
    assert time.process_time() - begun < 2


def test_nothing_steers_a_terminal() -> None:
    assert payload_text(b"a\x1b]0;title\x07\r\nb\x00\xe2\x80\xae\xff") == r"a\x1b]0;title\x07  b\x00\u202e\xff"


def test_ordinary_letters_stay_as_they_are() -> None:
    assert payload_text("Zürich 東京".encode()) == "Zürich 東京"


def test_kinds_have_names_and_unknown_ones_their_number() -> None:
    assert [kind_name(kind) for kind in (1, 2, 3, 9, 0)] == ["click", "postback", "stranger", "kind 9", "message"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(days=1)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T09:30", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
        ("2026-11-20T09:30+01:00", datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_or_a_moment(text: str, moment: datetime) -> None:
    assert earliest(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "24", "24 h", "-1h", "2026-13-01", "999999d"])
def test_another_since_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"calendar|isoformat|range|month"):
        earliest(text, NOW)


def test_the_beginning_of_a_stream_id_means_all_that_begin_so() -> None:
    assert stream_range("aB1") == (bytes.fromhex("ab1" + "0" * 29), bytes.fromhex("ab1" + "f" * 29))
    assert stream_range("0" * 32) == (bytes(16), bytes(16))


@pytest.mark.parametrize("text", ["", "xyz", "0x12", "1" * 33, "١"])
def test_another_stream_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        stream_range(text)
