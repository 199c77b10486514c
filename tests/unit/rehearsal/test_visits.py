"""Covers the headers and the query of one visit. Leaves sending it to test_driver.py."""

from management.rehearsal.access_log import LogClick
from management.rehearsal.visits import Visit


def visit_to(path: str) -> Visit:
    return Visit.of_log(LogClick(0.0, "2001:db8::7", "An agent", "https://a.example/", path))


def test_a_logs_click_keeps_its_address_agent_and_referrer() -> None:
    headers = visit_to("/a").headers("go.example")
    assert headers["Host"] == "go.example"
    assert headers["X-Forwarded-For"] == "2001:db8::7"
    assert headers["User-Agent"] == "An agent"
    assert headers["Referer"] == "https://a.example/"
    assert {"Accept", "Accept-Language", "Accept-Encoding"} < headers.keys()


def test_an_empty_agent_is_not_sent() -> None:
    assert "User-Agent" not in Visit("192.0.2.1", "").headers("go.example")


def test_the_path_travels_as_sub1_without_its_query() -> None:
    assert visit_to("/a b/ü%41?token=secret").query == "?sub1=%2Fa%20b%2F%C3%BC%2541"


def test_a_long_path_is_trimmed() -> None:
    assert visit_to("/" + "a" * 5_000).query == "?sub1=%2F" + "a" * 199


def test_a_prefetch_says_so() -> None:
    assert Visit("192.0.2.1", "", prefetch=True).headers("go.example")["Sec-Purpose"] == "prefetch"
    assert "Sec-Purpose" not in Visit("192.0.2.1", "").headers("go.example")
