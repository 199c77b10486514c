"""Covers reading a log's lines as clicks, and lines out of files. Leaves what a click is sent as to test_visits.py and
when to test_pace.py."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from management.rehearsal.access_log import (
    BLANK,
    CONTROL_CHARACTER,
    MAX_LINE,
    NO_ADDRESS,
    NO_REQUEST,
    NO_TIME,
    OTHER_FORMAT,
    TOO_LONG,
    LogClick,
    read_clicks,
)
from management.rehearsal.errors import RehearsalError
from management.rehearsal.log_file import open_log

COMBINED = (
    b'203.0.113.9 - - [10/Oct/2024:13:55:36 +0200] "GET /a?b=1 HTTP/1.1" 200 2326 '
    b'"https://blog.example/post" "Mozilla/5.0 (X11; Linux x86_64)"\n'
)
TS = 1_728_561_336.0  # 2024-10-10 11:55:36 UTC


def read(*lines: bytes) -> tuple[list[LogClick], Counter[str]]:
    skipped: Counter[str] = Counter()
    return list(read_clicks(lines, skipped)), skipped


def only(line: bytes) -> LogClick:
    clicks, skipped = read(line)
    assert not skipped
    return clicks[0]


def reason(line: bytes) -> str:
    clicks, skipped = read(line)
    assert not clicks
    assert skipped.total() == 1
    return next(iter(skipped))


def as_json(**fields: object) -> bytes:
    return json.dumps({"ts": TS, "ip": "203.0.113.9", "ua": "A browser", "path": "/a", **fields}).encode()


def combined(**changes: bytes) -> bytes:
    parts = {"ip": b"203.0.113.9", "request": b"GET /a HTTP/1.1", "referrer": b"-", "agent": b"A browser", "more": b""}
    parts |= changes
    return (
        parts["ip"] + b' - - [10/Oct/2024:13:55:36 +0200] "' + parts["request"] + b'" 302 - "' + parts["referrer"]
        + b'" "' + parts["agent"] + b'"' + parts["more"] + b"\n"
    )  # fmt: skip


def test_a_combined_line_gives_time_address_agent_referrer_and_path() -> None:
    assert only(COMBINED) == LogClick(
        TS, "203.0.113.9", "Mozilla/5.0 (X11; Linux x86_64)", "https://blog.example/post", "/a?b=1"
    )


def test_a_dash_stands_for_an_absent_header() -> None:
    click = only(combined(agent=b"-", referrer=b"-"))
    assert (click.user_agent, click.referrer) == ("", "")


def test_an_empty_agent_stays_empty() -> None:
    assert only(combined(agent=b"")).user_agent == ""


def test_fields_behind_the_agent_do_not_matter() -> None:
    assert only(combined(more=b' "198.51.100.4" 0.002')).user_agent == "A browser"


def test_a_user_name_with_blanks_does_not_shift_the_fields() -> None:
    line = COMBINED.replace(b" - - [", b" - Jane Q Public [")
    assert only(line).path == "/a?b=1"


@pytest.mark.parametrize(
    ("written", "agent"),
    [
        (rb"say \"hi\"", 'say "hi"'),
        (rb"say \x22hi\x22", 'say "hi"'),
        (rb"back\\slash", "back\\slash"),
        (rb"M\xC3\xBCnchen", "München"),
        ("München".encode(), "München"),
        (rb"tab\there", "tab\there"),
        (rb"unknown \q stays", r"unknown \q stays"),
    ],
)
def test_escapes_of_apache_and_nginx_are_undone(written: bytes, agent: str) -> None:
    assert only(combined(agent=written)).user_agent == agent


@pytest.mark.parametrize(
    ("ip", "read_as"), [(b"2001:db8::1", "2001:db8::1"), (b"fe80::1%eth0", "fe80::1"), (b"192.0.2.1", "192.0.2.1")]
)
def test_addresses_of_both_families_are_read(ip: bytes, read_as: str) -> None:
    assert only(combined(ip=ip)).ip == read_as


@pytest.mark.parametrize(
    "ts", [TS, int(TS), TS * 1000, "2024-10-10T11:55:36Z", "2024-10-10T13:55:36+02:00", "2024-10-10 11:55:36"]
)
def test_a_json_time_may_be_seconds_milliseconds_or_iso(ts: object) -> None:
    assert only(as_json(ts=ts)).ts == TS


def test_a_json_line_gives_the_same_click_as_a_combined_one() -> None:
    line = as_json(ua="Mozilla/5.0 (X11; Linux x86_64)", path="/a?b=1", referer="https://blog.example/post", status=200)
    assert only(line) == only(COMBINED)


def test_a_json_line_without_agent_and_referrer_has_empty_ones() -> None:
    click = only(as_json(ua=None))
    assert (click.user_agent, click.referrer) == ("", "")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (combined(request=b"POST /a HTTP/1.1"), "method POST"),
        (combined(request=b"HEAD /a HTTP/2.0"), "method HEAD"),
        (combined(request=b"BREW /a HTTP/1.1"), "another method"),
        (as_json(method="PUT"), "method PUT"),
        (combined(request=b"-"), NO_REQUEST),
        (combined(request=rb"\x16\x03\x01"), NO_REQUEST),
        (as_json(path=""), NO_REQUEST),
        (combined(ip=b"host.example"), NO_ADDRESS),
        (as_json(ip="1.2.3"), NO_ADDRESS),
        (COMBINED.replace(b"10/Oct", b"31/Feb"), NO_TIME),
        (COMBINED.replace(b"Oct", b"Okt"), NO_TIME),
        (COMBINED.replace(b"+0200", b"+9900"), NO_TIME),
        (as_json(ts=None), NO_TIME),
        (as_json(ts=True), NO_TIME),
        (as_json(ts="yesterday"), NO_TIME),
        (as_json(ts=-1), NO_TIME),
        (combined(agent=rb"a\x1Bb"), CONTROL_CHARACTER),
        (as_json(referer="https://a.example/\r\nX: y"), CONTROL_CHARACTER),
        (b'203.0.113.9 - - [10/Oct/2024:13:55:36 +0200] "GET / HTTP/1.1" 200 5\n', OTHER_FORMAT),
        (b"{broken\n", OTHER_FORMAT),
        (as_json(ua=7), OTHER_FORMAT),
        (b"\n", BLANK),
        (b"x" * (MAX_LINE + 1), TOO_LONG),
    ],
)
def test_what_is_no_click_is_counted_by_its_reason(line: bytes, why: str) -> None:
    assert reason(line) == why


def test_other_lines_between_clicks_stop_nothing() -> None:
    clicks, skipped = read(COMBINED, b"?", as_json(method="POST"), as_json(), COMBINED)
    assert len(clicks) == 3
    assert skipped == {OTHER_FORMAT: 1, "method POST": 1}


@given(st.lists(st.binary() | st.builds(lambda text: b'{"ts":1,"ip":"::1","path":' + text, st.binary())))
def test_no_line_raises(lines: list[bytes]) -> None:
    clicks, skipped = read(*lines)
    assert len(clicks) + skipped.total() == len(lines)


@given(
    st.dictionaries(
        st.sampled_from(["ts", "ip", "ua", "path", "referer", "method"]),
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text() | st.just("::1"),
    )
)
def test_no_json_object_raises(fields: dict[str, object]) -> None:
    clicks, skipped = read(json.dumps(fields).encode())
    assert len(clicks) + skipped.total() == 1


@given(st.binary(), st.binary(), st.binary(max_size=40))
def test_no_combined_line_raises(agent: bytes, request: bytes, ip: bytes) -> None:
    clicks, skipped = read(combined(agent=agent, request=request, ip=ip))
    assert len(clicks) + skipped.total() == 1


@pytest.mark.parametrize("name", ["access.log", "access.log.gz"])
def test_gzip_is_known_by_its_content_not_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (COMBINED * 3, gzip.compress(COMBINED * 3)):
        path.write_bytes(content)
        with open_log(path) as log:
            assert list(log) == [COMBINED] * 3
            assert log.damage is None
            assert (log.position, log.size) == (len(content), len(content))


def test_a_cut_off_gzip_gives_what_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    lines = [b"%d %s" % (number, COMBINED) for number in range(5_000)]
    compressed = gzip.compress(b"".join(lines))
    path.write_bytes(compressed[: len(compressed) // 2])
    with open_log(path) as log:
        found = list(log)
        assert log.damage is not None
    assert found == lines[: len(found)]
    assert 0 < len(found) < 5_000


def test_a_line_without_end_is_one_line_and_held_short(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"x" * (5 * MAX_LINE) + b"\n" + COMBINED)
    with open_log(path) as log:
        found = list(log)
    assert [len(line) for line in found] == [MAX_LINE + 1, len(COMBINED)]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.touch()
    with open_log(path) as log:
        assert list(log) == []


def test_a_log_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(RehearsalError, match=r"absent\.log cannot be read: No such file"),
        open_log(tmp_path / "absent.log"),
    ):
        pass
