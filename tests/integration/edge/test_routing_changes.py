"""Changes of single rows against a real Valkey and real edges: only they are read, all live edges have them within a
second, and what an edge does when it cannot catch up or Redis comes back as another.

Whole tables, salts and starts are in test_routing.py; what the publisher makes of Postgres in integration/jobs.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge.table import TableBuilder
from edge.table_copy import TableCopy
from management.publisher import LIVE_MS
from shared.campaigns import LOG_ROWS, REDIS_CAMPAIGNS, REDIS_GENERATION, REDIS_LOG_FROM, AccountRow
from shared.data_dir import DataDir
from tests.integration.edge import rows
from tests.integration.edge.harness import Edge, Valkey, await_true
from tests.integration.edge.management import fill, mend, publish, tell

LINK = f"/c/{rows.ACTIVE.uuid}"
PAUSED = replace(rows.ACTIVE, status="paused")
MANY = 100_000
LOAD_SECONDS = 600.0
"""A deadline for machines with much else to do; a worker needs about ten seconds of its processor."""


def counted(edge: Edge, name: str) -> int:
    line = next(
        line for line in edge.admin("/metrics").body.decode().splitlines() if line.startswith(f"milepost_edge_{name} ")
    )
    return int(float(line.rpartition(" ")[2]))


def loads(edge: Edge) -> int:
    return counted(edge, "table_loads_total")


def version(edge: Edge) -> int:
    return int(edge.admin("/healthz").json()["workers"]["0"]["table_version"])


def generation(valkey: Valkey) -> str:
    with valkey.client() as client:
        value = client.get(REDIS_GENERATION)
    assert isinstance(value, bytes)
    return value.decode()


def reported(edge: Edge, name: str, count: int) -> None:
    """Reports of a worker reach the admin port twice a second."""
    await_true(lambda: counted(edge, name) == count, f"{name} is {count}, not {counted(edge, name)}", 3)


def keeps(edge: Edge, status: int, seconds: float = 1.5) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert edge.get(LINK).status == status
        time.sleep(0.01)


def becomes(edge: Edge, status: int, seconds: float = 5.0) -> None:
    await_true(lambda: edge.get(LINK).status == status, f"the link answers {status}", seconds)


@contextmanager
def edges(folder: Path, valkey: Valkey, count: int) -> Iterator[list[Edge]]:
    """Several edges, each with a data directory of its own as on machines of their own, ready."""
    with ExitStack() as stack:
        started = []
        for number in range(count):
            root = folder / f"edge-{number}"
            root.mkdir()
            edge = Edge(DataDir.at(root), valkey.url)
            stack.callback(edge.__exit__, None, None, None)
            edge.launch()
            started.append(edge)
        for edge in started:
            await_true(edge.is_ready, f"the edge is ready: {edge.log()}", LOAD_SECONDS)
        yield started


def test_a_change_among_100_000_campaigns_is_at_three_edges_within_a_second(
    tmp_path: Path, own_valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(own_valkey, 1, (rows.row(number) for number in range(1, MANY + 1)))
    with edges(tmp_path, own_valkey, 3) as running:
        for change, number in ((2, 1), (3, 50_000), (4, MANY)):
            assert tell(own_valkey, rows.row(number, version=change, status="paused")), "a campaign"
            assert [edge.get(f"/c/{rows.slug(number)}").status for edge in running] == [404, 404, 404]
        assert tell(own_valkey, AccountRow(id=1, version=5, status="suspended")), "the account"
        assert [edge.get(f"/c/{rows.slug(7)}").status for edge in running] == [410, 410, 410]
        for edge in running:
            reported(edge, "table_delta_rows_total", 4)
            assert (loads(edge), counted(edge, "table_deltas_total")) == (1, 4)
        memory = [_resident_mib(edge.worker_pid()) for edge in running]
        with capsys.disabled():
            sys.stdout.write(f"\n{MANY:,} campaigns take {memory} MiB a worker\n")
        assert max(memory) <= 250

        # One that dies without a word holds the calls up until it is not live any more.
        dying = running[2].process
        assert dying is not None
        os.kill(dying.pid, signal.SIGSTOP)  # so that no new worker takes its place
        os.kill(running[2].worker_pid(), signal.SIGKILL)
        began = time.monotonic()
        assert not tell(own_valkey, AccountRow(id=1, version=6)), "an edge is dead, and nobody can know yet"
        assert time.monotonic() - began < 2
        time.sleep(max(0.0, LIVE_MS / 1000 - (time.monotonic() - began)))
        assert tell(own_valkey, AccountRow(id=1, version=7)), "the dead edge is not waited for"
        os.kill(dying.pid, signal.SIGCONT)


def _resident_mib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 >> 20


def test_changes_that_come_out_of_turn_count_when_all_are_there(own_edge: Edge, own_valkey: Valkey) -> None:
    """Two processes that publish: the later change comes first."""
    publish(own_valkey, replace(PAUSED, version=3))
    keeps(own_edge, 302, 0.5)
    publish(own_valkey, rows.row(50, version=2))
    becomes(own_edge, 404, 1)
    assert own_edge.get(f"/c/{rows.slug(50)}").status == 302
    await_true(lambda: version(own_edge) == 3, "both count")
    assert loads(own_edge) == 1


def test_an_older_change_that_comes_late_undoes_nothing(own_edge: Edge, own_valkey: Valkey) -> None:
    publish(own_valkey, rows.row(50, version=2), replace(PAUSED, version=4))
    publish(own_valkey, replace(rows.ACTIVE, version=3))
    becomes(own_edge, 404, 1)
    await_true(lambda: version(own_edge) == 4, "version 4 is in use")
    keeps(own_edge, 404, 0.5)


def test_an_edge_behind_the_log_reads_everything(own_edge: Edge, own_valkey: Valkey) -> None:
    copy = own_edge.data_dir.routing_copy
    assert own_edge.stop() == 0
    saved = copy.read_bytes()
    with own_valkey.client() as client, client.pipeline() as pipeline:
        pipeline.set(REDIS_LOG_FROM, 5)  # as when changes 2 to 5 were trimmed
        pipeline.hset(REDIS_CAMPAIGNS, "1", replace(PAUSED, version=3).to_json())
        pipeline.set("milepost:version", 6)
        pipeline.execute()
    assert copy.read_bytes() == saved
    with Edge(own_edge.data_dir, own_valkey.url) as again:
        becomes(again, 404)
        reported(again, "table_loads_total", 1)


def test_the_log_is_trimmed_and_says_so(own_valkey: Valkey) -> None:
    fill(own_valkey, 1, [rows.ACTIVE])
    changes = [rows.row(number, version=number) for number in range(2, LOG_ROWS + 12)]
    assert mend(own_valkey, generation(own_valkey), LOG_ROWS + 11, *changes)
    with own_valkey.client() as client:
        assert client.zcard("milepost:log") == LOG_ROWS
        assert client.get(REDIS_LOG_FROM) == b"11"
        assert client.zrange("milepost:log", 0, 0, withscores=True) == [(b"c:12", 12.0)]


def test_a_new_generation_is_read_whole_even_with_a_lower_version_if_the_publisher_knows(
    own_edge: Edge, own_valkey: Valkey
) -> None:
    publish(own_valkey, replace(rows.ACTIVE, version=2), rows.row(50, version=3))
    await_true(lambda: version(own_edge) == 3, "version 3")
    fill(own_valkey, 2, [replace(PAUSED, version=2)])
    keeps(own_edge, 302)
    assert "redis holds an older version" in own_edge.log()
    fill(own_valkey, 2, [replace(PAUSED, version=2)], supersedes=3)
    becomes(own_edge, 404, 2)
    assert own_edge.get(f"/c/{rows.slug(50)}").status == 404, "a campaign of the lost history is gone"
    reported(own_edge, "table_loads_total", 2)


def test_a_redis_that_lost_its_last_second_takes_nothing_back(own_edge: Edge, own_valkey: Valkey) -> None:
    before = _dump(own_valkey)
    publish(own_valkey, replace(PAUSED, version=2))
    becomes(own_edge, 404, 1)
    _restore(own_valkey, before)
    keeps(own_edge, 404)
    # the publisher finds Redis behind and mends it, in the same generation; then life goes on
    assert mend(own_valkey, generation(own_valkey), 2, replace(PAUSED, version=2))
    keeps(own_edge, 404, 0.5)
    assert tell(own_valkey, replace(rows.ACTIVE, version=3))
    assert own_edge.get(LINK).status == 302
    assert loads(own_edge) == 1


def test_yesterdays_dump_takes_nothing_back(own_edge: Edge, own_valkey: Valkey) -> None:
    yesterday = _dump(own_valkey)
    fill(own_valkey, 5, [replace(PAUSED, version=5)])
    becomes(own_edge, 404, 2)
    _restore(own_valkey, yesterday)
    keeps(own_edge, 404)
    assert mend(own_valkey, generation(own_valkey), 6, replace(PAUSED, version=5), rows.row(50, version=6))
    await_true(lambda: version(own_edge) == 6, "mended, it is read")
    keeps(own_edge, 404, 0.3)
    assert own_edge.get(f"/c/{rows.slug(50)}").status == 302


@pytest.mark.parametrize("lower", [False, True])
def test_a_flushed_redis_is_followed_again_when_it_was_filled(own_edge: Edge, own_valkey: Valkey, lower: bool) -> None:
    publish(own_valkey, rows.row(50, version=2), rows.row(51, version=3))
    await_true(lambda: version(own_edge) == 3, "version 3")
    with own_valkey.client() as client:
        client.flushall()
    publish(own_valkey, replace(PAUSED, version=4))  # one row is not a table
    keeps(own_edge, 302)
    fill(own_valkey, 2 if lower else 5, [replace(PAUSED, version=2)], supersedes=3 if lower else 0)
    becomes(own_edge, 404, 2)
    assert tell(own_valkey, replace(rows.ACTIVE, version=3 if lower else 6))


def test_a_valkey_that_was_killed_and_came_back_empty_is_followed_again(own_edge: Edge, own_valkey: Valkey) -> None:
    own_valkey.kill()
    keeps(own_edge, 302, 0.5)
    own_valkey.start()
    keeps(own_edge, 302)
    fill(own_valkey, 2, [replace(PAUSED, version=2)])
    becomes(own_edge, 404, 4)


def test_an_empty_table_of_a_new_generation_takes_nothing_away(own_edge: Edge, own_valkey: Valkey) -> None:
    fill(own_valkey, 2, [])
    keeps(own_edge, 302)
    fill(own_valkey, 3, [PAUSED], [])
    keeps(own_edge, 302)
    fill(own_valkey, 4, [PAUSED])
    becomes(own_edge, 404)


def test_a_change_is_on_disk_before_it_is_used(own_edge: Edge, own_valkey: Valkey) -> None:
    for change in range(2, 30):
        state = ("paused", 404) if change % 2 == 0 else ("active", 302)
        publish(own_valkey, replace(rows.ACTIVE, version=change, status=state[0]))
        await_true(lambda expected=state[1]: own_edge.get(LINK).status == expected, "in use")  # type: ignore[misc]
        assert copied(own_edge.data_dir.routing_copy) >= change


def copied(path: Path) -> int:
    mark = TableCopy(path).read(TableBuilder().add)
    assert mark is not None
    return mark.version


def test_a_killed_edge_starts_from_copy_and_changes_with_every_server_down(own_edge: Edge, own_valkey: Valkey) -> None:
    publish(own_valkey, rows.row(50, version=2), replace(PAUSED, version=3), AccountRow(id=2, version=4))
    await_true(lambda: version(own_edge) == 4, "version 4")
    supervisor = own_edge.process
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGSTOP)
    os.kill(own_edge.worker_pid(), signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    own_valkey.kill()
    with own_edge.data_dir.routing_copy.open("ab") as copy:
        copy.write(b'01234567 c:1 {"id":1,"status":"act')  # a line that the kill tore
    with Edge(own_edge.data_dir, own_valkey.url) as again:
        assert [again.get(path).status for path in (LINK, f"/c/{rows.slug(50)}")] == [404, 302]
        assert version(again) == 4
        own_valkey.start()
        fill(own_valkey, 5, [replace(rows.ACTIVE, version=5)])
        becomes(again, 302, 4)


def test_a_restarted_edge_catches_up_from_its_copy(own_edge: Edge, own_valkey: Valkey) -> None:
    assert own_edge.stop() == 0
    publish(own_valkey, rows.row(50, version=2), replace(PAUSED, version=3))
    with Edge(own_edge.data_dir, own_valkey.url) as again:
        becomes(again, 404)
        reported(again, "table_deltas_total", 1)
        assert loads(again) == 0
        assert counted(again, "table_delta_rows_total") == 2


def test_a_copy_that_went_missing_is_written_again(own_edge: Edge, own_valkey: Valkey) -> None:
    copy = own_edge.data_dir.routing_copy
    shutil.move(copy, copy.with_suffix(".away"))
    publish(own_valkey, replace(PAUSED, version=2))
    becomes(own_edge, 404, 1)
    assert "routing copy not written" in own_edge.log()
    # after RETRY_SECONDS, by reading everything once more
    await_true(copy.exists, "the copy is there again", 45)
    assert copied(copy) == 2


def test_a_deleted_campaign_takes_postbacks_after_changes_and_a_restart(own_edge: Edge, own_valkey: Valkey) -> None:
    click = own_edge.get(LINK).location.partition("click=")[2].partition("&")[0]
    assert tell(own_valkey, replace(rows.ACTIVE, version=2, status="deleted"))
    assert own_edge.get(LINK).status == 404
    assert own_edge.get(f"/api/v1/postback?clickid={click}").status == 200
    assert own_edge.stop() == 0
    own_valkey.kill()
    with Edge(own_edge.data_dir, own_valkey.url) as again:
        assert again.get(LINK).status == 404
        assert again.get(f"/api/v1/postback?clickid={click}&event=second").status == 200


def test_a_click_between_two_changes_sees_one_or_the_other(own_edge: Edge, own_valkey: Valkey) -> None:
    """A change of the campaign and its account in one version: never one without the other."""
    for change in range(2, 22):
        suspended = change % 2 == 0
        both = (
            replace(rows.ACTIVE, version=change, destination_url=f"https://new.example/{change}"),
            AccountRow(id=1, version=change, status="suspended" if suspended else "active"),
        )
        assert mend(own_valkey, generation(own_valkey), change, *both)
        deadline = time.monotonic() + 5
        while True:
            answer = own_edge.get(LINK)
            location = answer.header("location") or ""
            if suspended:
                if answer.status == 410:
                    break
                assert location.startswith(f"https://new.example/{change - 1}") or change == 2
            elif answer.status == 302:
                assert location == f"https://new.example/{change}"
                break
            assert time.monotonic() < deadline


def _dump(valkey: Valkey) -> dict[bytes, bytes]:
    with valkey.client() as client:
        return {key: client.dump(key) for key in client.keys("milepost:*") if key != b"milepost:edges"}


def _restore(valkey: Valkey, dump: dict[bytes, bytes]) -> None:
    """At once, as a Redis that starts with this file."""
    with valkey.client() as client, client.pipeline(transaction=True) as pipeline:
        pipeline.flushall()
        for key, value in dump.items():
            pipeline.restore(key, 0, value, replace=True)
        pipeline.execute()
