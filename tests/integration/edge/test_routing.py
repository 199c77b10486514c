"""The routing table against a real Valkey: how soon a change is seen, and what never replaces a good table.

Each test has its own Valkey and edge. Changes of single rows and a Redis that comes back as another are in
test_routing_changes.py, the steps of a load in test_routing_steps.py; building and the form of the copy in unit/edge.
"""

import stat
import time
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.campaigns import REDIS_CAMPAIGNS, REDIS_EDGES, REDIS_SALTS, REDIS_VERSION, AccountRow
from shared.traffic import Flag, Outcome
from tests.integration.edge import rows
from tests.integration.edge.harness import DEADLINE, Edge, Valkey, await_true, salts_around_today

LINK = f"/c/{rows.ACTIVE.uuid}"
PROPAGATION_SECONDS = 1.0
"""The contract: what changes is at the edge within this time."""


def reports(valkey: Valkey) -> list[dict[str, Any]]:
    with valkey.client() as client:
        values: Any = client.hvals(REDIS_EDGES)
        return [orjson.loads(value) for value in values]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"status": "paused"}, 404), ({"status": "deleted"}, 404), ({"destination_url": "https://new.example/"}, 302)],
)
def test_a_change_is_in_use_within_a_second(
    own_edge: Edge, own_valkey: Valkey, change: dict[str, str], status: int
) -> None:
    before = own_edge.get(LINK)
    own_valkey.seed(2, [replace(rows.ACTIVE, version=2, **change)])  # type: ignore[arg-type]

    def changed() -> bool:
        answer = own_edge.get(LINK)
        return answer.status == status and answer.header("location") != before.location

    await_true(changed, "the change is in use", PROPAGATION_SECONDS)


def test_a_suspension_is_in_use_within_a_second(own_edge: Edge, own_valkey: Valkey) -> None:
    own_valkey.seed(2, [], [AccountRow(id=1, version=2, status="suspended")])
    await_true(lambda: own_edge.get(LINK).status == 410, "the suspension is in use", PROPAGATION_SECONDS)
    own_valkey.seed(3, [], [AccountRow(id=1, version=3)])
    await_true(lambda: own_edge.get(LINK).status == 302, "the account is back", PROPAGATION_SECONDS)


def test_the_version_in_use_is_reported_at_once_and_then_every_second(own_edge: Edge, own_valkey: Valkey) -> None:
    stream = own_edge.admin("/healthz").json()["workers"]["0"]["stream"]
    with own_valkey.client() as client:
        assert client.hkeys(REDIS_EDGES) == [stream.encode()]
    own_valkey.seed(7, [rows.ACTIVE])
    await_true(lambda: reports(own_valkey)[0]["version"] == 7, "version 7 is reported", 1.0)
    first = reports(own_valkey)[0]["at"]
    assert abs(first - time.time() * 1000) < 2_000
    await_true(lambda: reports(own_valkey)[0]["at"] >= first + 900, "the report is renewed", 2.5)


def test_an_orderly_end_takes_the_report_back(own_edge: Edge, own_valkey: Valkey) -> None:
    await_true(lambda: reports(own_valkey), "a report")
    assert own_edge.stop() == 0
    assert reports(own_valkey) == []


def test_links_redirect_while_redis_is_away_and_follow_it_when_it_is_back(own_edge: Edge, own_valkey: Valkey) -> None:
    own_valkey.kill()
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert own_edge.get(LINK).status == 302
    own_valkey.start()
    # back, but empty: nothing says what its rows are complete for
    time.sleep(2)
    assert own_edge.get(LINK).status == 302
    own_valkey.seed(2, [replace(rows.ACTIVE, version=2, status="paused")])
    await_true(lambda: own_edge.get(LINK).status == 404, "the edge follows Redis again", 5)
    assert "milepost_edge_redis_errors_total 0.0\n" not in own_edge.admin("/metrics").body.decode()


@pytest.mark.parametrize("lost", [(REDIS_VERSION,), (REDIS_CAMPAIGNS,), (REDIS_CAMPAIGNS, REDIS_VERSION)])
def test_an_emptied_redis_takes_nothing_away(own_edge: Edge, own_valkey: Valkey, lost: tuple[str, ...]) -> None:
    with own_valkey.client() as client, client.pipeline(transaction=True) as pipeline:
        pipeline.set(REDIS_VERSION, 9)
        pipeline.delete(*lost)
        pipeline.execute()
    time.sleep(0.5)
    assert own_edge.get(LINK).status == 302


def test_an_older_version_is_never_taken_by_itself(own_edge: Edge, own_valkey: Valkey) -> None:
    own_valkey.seed(5, [rows.ACTIVE])
    await_true(lambda: own_edge.admin("/healthz").json()["workers"]["0"]["table_version"] == 5, "version 5")
    own_valkey.seed(3, [replace(rows.ACTIVE, status="paused")])
    until = time.monotonic() + 6
    while time.monotonic() < until:
        assert own_edge.get(LINK).status == 302
        time.sleep(0.02)


def test_a_restart_with_redis_down_serves_from_the_copy(own_edge: Edge, own_valkey: Valkey) -> None:
    copy = own_edge.data_dir.routing_copy
    await_true(copy.exists, "the copy is written")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    own_valkey.kill()
    assert own_edge.stop() == 0
    with Edge(own_edge.data_dir, own_valkey.url) as again:
        assert again.get(LINK).status == 302
        click = again.clicks()[-1]
        assert click["outcome"] == Outcome.REDIRECTED
        assert not click["flags"] & Flag.SALT_DERIVED
        assert again.admin("/healthz").json()["workers"]["0"]["table_version"] == 1


def test_without_redis_setting_the_copy_alone_is_served(own_edge: Edge) -> None:
    await_true(own_edge.data_dir.routing_copy.exists, "the copy is written")
    assert own_edge.stop() == 0
    with Edge(own_edge.data_dir) as again:
        assert again.get(LINK).status == 302


def test_without_any_table_links_are_503_and_the_edge_is_not_ready(own_edge: Edge, own_valkey: Valkey) -> None:
    assert own_edge.stop() == 0
    own_edge.data_dir.routing_copy.write_bytes(b'{"format":1,"campaigns":3')
    own_valkey.kill()
    bare = Edge(own_edge.data_dir, own_valkey.url)
    try:
        bare.launch()

        def answers() -> bool:
            try:
                return bare.get(LINK).status == 503
            except OSError:
                return False

        await_true(answers, "the edge answers 503")
        answer = bare.get(LINK)
        assert int(answer.header("retry-after") or 0) > 0
        assert bare.get("/api/v1/postback?clickid=x").status == 503
        assert bare.admin("/readyz").status == 503
        assert "routing copy unreadable" in bare.log()
        own_valkey.start()
        own_valkey.seed(1, [rows.ACTIVE])
        await_true(lambda: bare.get(LINK).status == 302, "the first table is in use", 5)
        await_true(lambda: bare.admin("/readyz").status == 200, "ready", 3)
    finally:
        assert bare.stop() == 0


def test_new_salts_are_used_and_missing_ones_derived_and_flagged(own_edge: Edge, own_valkey: Valkey) -> None:
    own_edge.get(LINK)
    known = salts_around_today()
    own_valkey.seed(2, [rows.ACTIVE], salts={day: "77" * 32 for day in known})
    await_true(lambda: own_edge.get(LINK) and _keys(own_edge) == 2, "the new salts are in use", 3)
    with own_valkey.client() as client, client.pipeline(transaction=True) as pipeline:
        pipeline.delete(REDIS_SALTS)
        pipeline.set(REDIS_VERSION, 3)
        pipeline.execute()
    await_true(lambda: own_edge.get(LINK) and _keys(own_edge) == 3, "salts are derived", 3)
    assert own_edge.clicks()[-1]["flags"] & Flag.SALT_DERIVED


def _keys(edge: Edge) -> int:
    return len({event["visitor"] for event in edge.clicks()})


def test_clicks_are_answered_while_a_large_change_is_taken_up(own_edge: Edge, own_valkey: Valkey) -> None:
    """That the load is cut in steps: test_routing_steps.py."""
    many = [rows.row(number, version=2) for number in range(100, 8_100)]
    own_valkey.seed(2, many)
    deadline = time.monotonic() + DEADLINE
    while own_edge.admin("/healthz").json()["workers"]["0"]["campaigns"] < 8_000:
        assert own_edge.get(LINK).status == 302
        assert time.monotonic() < deadline
    assert own_edge.get(f"/c/{rows.slug(8_099)}").status == 302
