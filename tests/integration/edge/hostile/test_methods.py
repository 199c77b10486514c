"""Every verb on every path of the edge (api.md section 1, security X13), byte for byte what a HEAD leaves out, and the
answers that may not be told from one another.

That a click, a HEAD and a prefetch are recorded as such, and the outcome of each campaign's state: test_clicks.py.
Verbs that are none: test_request_line.py.
"""

import pytest

from shared.campaigns import CampaignRow
from shared.traffic import ClickMode, Outcome
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge
from tests.integration.edge.hostile.exchange import LINK, POSTBACK, ask_once, proven_click, recording, request
from tests.integration.edge.raw import Connection, RawAnswer

PAGES = [b"/", b"/robots.txt", b"/favicon.ico"]
READING = "GET, HEAD, OPTIONS"
POSTING = "GET, POST, OPTIONS"
OTHERS = ["POST", "PUT", "DELETE", "PATCH", "TRACE"]
FOREIGN_TO_HTTP = ["PROPFIND", "MKCOL", "LOCK", "SEARCH", "SUBSCRIBE", "PURGE", "LINK", "QUERY"]


def names(allow: str | None) -> set[str]:
    return {name.strip() for name in (allow or "").split(",")}


@pytest.mark.parametrize("method", [*OTHERS, *FOREIGN_TO_HTTP])
@pytest.mark.parametrize("target", [LINK, b"/c/unknown", *PAGES], ids=bytes.decode)
def test_a_verb_that_a_path_does_not_take_is_405_or_501(edge: Edge, target: bytes, method: str) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(target, method=method.encode()))
    assert answer.status == 405 or (answer.status == 501 and method in FOREIGN_TO_HTTP)
    assert answer.status == 501 or names(answer.header("allow")) == names(READING)
    assert recorded.all == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "TRACE", *FOREIGN_TO_HTTP])
def test_a_postback_is_a_get_or_a_post(edge: Edge, method: str) -> None:
    click = proven_click(edge)
    with recording(edge) as recorded:
        answer = ask_once(edge, request(POSTBACK + b"?clickid=" + click, method=method.encode()), method)
    assert answer.status == 405 or (answer.status == 501 and method in FOREIGN_TO_HTTP)
    assert answer.status == 501 or names(answer.header("allow")) == names(POSTING)
    assert recorded.all == []


@pytest.mark.parametrize(
    ("target", "allow"),
    [(LINK, READING), (b"/c/unknown", READING), (POSTBACK, POSTING), *((page, READING) for page in PAGES)],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_options_names_the_verbs(edge: Edge, target: bytes, allow: str) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(target, method=b"OPTIONS"))
    assert answer.status == 204
    assert names(answer.header("allow")) == names(allow)
    assert recorded.all == []


def test_options_for_the_server_as_a_whole_is_answered(edge: Edge) -> None:
    """RFC 9110 section 9.3.7; with no other verb is `*` a target."""
    assert ask_once(edge, request(b"*", method=b"OPTIONS")).status in (200, 204)
    with recording(edge) as recorded:
        assert ask_once(edge, request(b"*")).status < 500
    assert recorded.all == []


@pytest.mark.parametrize("target", [b"localhost:443", b"evil.example:443", LINK], ids=bytes.decode)
def test_connect_opens_no_tunnel(edge: Edge, target: bytes) -> None:
    with recording(edge) as recorded, Connection(edge.port) as connection:
        connection.send(request(target, method=b"CONNECT") + request())
        assert connection.read().status in (400, 404, 405, 501)
    assert len(recorded.clicks) <= (0 if target != LINK else 1)


@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"X-Method-Override", b"X-HTTP-Method"])
def test_no_header_overrides_the_verb(edge: Edge, name: bytes) -> None:
    with recording(edge) as recorded:
        assert ask_once(edge, request(LINK, name + b": GET", method=b"POST")).status == 405
        assert ask_once(edge, request(LINK, name + b": DELETE")).status == 302
    assert len(recorded.clicks) == 1


HEAD_TARGETS = [
    *PAGES,
    b"/elsewhere",
    b"/c/unknown",
    *(f"/c/{campaign.uuid}".encode() for campaign in (rows.PAUSED, rows.INACTIVE, rows.NOWHERE, rows.OF_SUSPENDED)),
]


@pytest.mark.parametrize("target", HEAD_TARGETS, ids=bytes.decode)
def test_a_head_gets_the_headers_of_its_get_and_no_body(edge: Edge, target: bytes) -> None:
    with Connection(edge.port) as connection:
        connection.send(request(target) + request(target, method=b"HEAD") + request(b"/robots.txt"))
        get, head, after = connection.read_all(["GET", "HEAD", "GET"])
    assert head.status == get.status
    assert {**head.headers, "date": []} == {**get.headers, "date": []}
    # had the HEAD a body, the next answer would not begin here
    assert after.status == 200


def test_the_head_of_a_link_has_every_header_of_its_get(edge: Edge) -> None:
    """Both issue a click id, so all but the Location is equal."""
    get, head = (ask_once(edge, request(method=method), method.decode()) for method in (b"GET", b"HEAD"))
    assert {**head.headers, "date": [], "location": []} == {**get.headers, "date": [], "location": []}
    assert head.location.partition("click=")[0] == get.location.partition("click=")[0]


def test_a_head_that_announces_a_prefetch_is_put_off_like_a_get(edge: Edge) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(LINK, b"Sec-Purpose: prefetch", method=b"HEAD"), "HEAD")
    assert (answer.status, answer.header("cache-control"), answer.header("location")) == (503, "no-store", None)
    assert recorded.clicks[0]["mode"] == ClickMode.PREFETCH


@pytest.mark.parametrize(
    ("campaign", "status", "outcome"),
    [
        (rows.PAUSED, 503, Outcome.PAUSED),
        (rows.OF_SUSPENDED, 503, Outcome.SUSPENDED),
        (rows.NOWHERE, 503, Outcome.NO_DESTINATION),
    ],
    ids=["paused", "suspended", "no destination"],
)
def test_a_prefetch_says_nothing_of_the_campaign(
    edge: Edge, campaign: CampaignRow, status: int, outcome: Outcome
) -> None:
    with recording(edge) as recorded:
        answer = ask_once(edge, request(f"/c/{campaign.uuid}".encode(), b"Purpose: prefetch"))
        usual = ask_once(edge, request(LINK, b"Purpose: prefetch"))
    assert answer.status == status
    assert answer.without_date() == usual.without_date()
    assert [(event["mode"], event["outcome"]) for event in recorded.clicks] == [
        (ClickMode.PREFETCH, outcome),
        (ClickMode.PREFETCH, Outcome.REDIRECTED),
    ]


def test_a_prefetch_of_an_unknown_link_is_an_unknown_link(edge: Edge) -> None:
    with recording(edge) as recorded:
        assert ask_once(edge, request(b"/c/unknown", b"Purpose: prefetch")).status == 404
    assert recorded.clicks == []


def test_a_prefetched_postback_is_put_off_and_not_taken(edge: Edge) -> None:
    click = proven_click(edge)
    with recording(edge) as recorded:
        answer = ask_once(edge, request(POSTBACK + b"?clickid=" + click, b"Sec-Purpose: prefetch"))
    assert (answer.status, answer.header("cache-control")) == (503, "no-store")
    assert recorded.postbacks == []


def test_unknown_foreign_and_deleted_links_give_the_same_bytes(edge: Edge) -> None:
    deleted = f"/c/{rows.DELETED.uuid}".encode()
    for method in (b"GET", b"HEAD"):
        with recording(edge) as recorded, Connection(edge.port) as connection:
            asked = (
                request(b"/c/00000000-dead-4000-8000-000000000000", method=method),
                request(b"/c/" + b"x" * 36, method=method),
                request(deleted, method=method),
                request(deleted + b"?sub1=a", b"User-Agent: curl/8", method=method),
                request(LINK, method=method, host=b"another.example"),
                request(b"/c/", method=method),
                request(b"/c/" + b"x" * 4_000, method=method),
            )
            connection.send(b"".join(asked))
            answers: list[RawAnswer] = connection.read_all([method.decode()] * len(asked))
        assert {answer.status for answer in answers} == {404}
        assert len({answer.without_date() for answer in answers}) == 1
        assert recorded.clicks == []


def test_no_answer_names_the_software(edge: Edge) -> None:
    for sent in (request(), request(b"/"), request(b"/elsewhere"), request(host=None), b"nonsense\r\n\r\n"):
        answer = ask_once(edge, sent)
        assert answer.header("server") is None
        assert answer.header("x-powered-by") is None
        assert answer.header("set-cookie") is None
        assert len(answer.headers["date"]) == 1
