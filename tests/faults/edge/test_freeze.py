"""Covers processes that stand still and go on: a worker, the supervisor, Valkey. Nothing answered is lost, the others
are not held up, and reports, deadlines and the routing table catch up.

Leaves processes that die to test_restart.py and a Valkey that is gone to tests/integration/edge/test_routing.py.
"""

import asyncio
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from shared.data_dir import DataDir
from tests.faults.edge.faulty_edge import (
    FaultyEdge,
    assert_answered_once,
    connected_to_each,
    frozen,
    meanwhile,
    more_clicks,
    pids_of,
)
from tests.faults.edge.visitors import CAMPAIGN, PIPELINED, Ledger, Style, Visitor, visiting
from tests.integration.edge.harness import Valkey, await_true

STYLES: tuple[Style, ...] = ("kept", "kept", "single", "single", "pipelined")
LONGER_THAN_A_REPORT_IS_FRESH = 4.0
LONGER_THAN_A_CONNECTION_MAY_IDLE = 11.0


def edge_at(tmp_path: Path, valkey: Valkey, workers: int = 1) -> FaultyEdge:
    (tmp_path / "edge").mkdir(exist_ok=True)
    return FaultyEdge(DataDir.at(tmp_path / "edge"), valkey.url, {"MILEPOST_EDGE_WORKERS": str(workers)})


def pid_of(valkey: Valkey) -> int:
    with valkey.client() as client:
        return int(client.info("server")["process_id"])


def visitors_of(port: int, ledger: Ledger) -> list[Visitor]:
    return [Visitor(port, style, ledger, converts=True, pause=0.02) for style in STYLES]


async def test_who_asks_a_frozen_worker_is_answered_when_it_goes_on(tmp_path: Path, valkey: Valkey) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey) as edge:
        with socket.create_connection(("127.0.0.1", edge.port)) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHost:")
            async with visiting(visitors_of(edge.port, ledger)):
                await asyncio.sleep(0.3)
                with frozen(edge.worker_pid()):
                    before = len(ledger.clicks)
                    await meanwhile(lambda: edge.admin("/readyz").status == 503, "the supervisor sees no fresh report")
                    assert len(ledger.clicks) <= before + len(STYLES) * PIPELINED
                await meanwhile(lambda: edge.admin("/readyz").status == 200, "reports come again")
                await more_clicks(ledger, 50)
            # The deadline of a head that never ends holds behind the pause too.
            half.settimeout(15)
            await asyncio.to_thread(read_to_end, half)
        assert edge.metric("milepost_edge_worker_restarts_total") == 0
        assert_answered_once(edge, ledger, spare=0)
    assert ledger.broken == []
    assert (ledger.refused, ledger.refused_postbacks) == ({}, {})


def read_to_end(connection: socket.socket) -> None:
    """Raises TimeoutError when the other side does not close."""
    while connection.recv(4096):
        pass


async def test_a_frozen_worker_holds_up_only_its_own_connections(tmp_path: Path, valkey: Valkey) -> None:
    with edge_at(tmp_path, valkey, 2) as edge:
        await asyncio.to_thread(edge.await_workers, (0, 1))
        first, _ = pids_of(edge, 2)
        theirs, free = await connected_to_each(edge, 6)
        held_up, going_on = theirs[0].ledger, free[0].ledger
        async with visiting([*theirs, *free]):
            with frozen(first):
                await meanwhile(lambda: edge.admin("/readyz").json()["workers"] == [1], "one worker is not fresh")
                held = len(held_up.clicks)
                newcomers = [Visitor(edge.port, "single", going_on) for _ in range(6)]
                await asyncio.gather(*(visitor.run(asyncio.Event(), 5) for visitor in newcomers))
                await more_clicks(going_on, 60, "the other worker goes on")
                assert len(held_up.clicks) == held
            await asyncio.to_thread(edge.await_workers, (0, 1))
            await more_clicks(held_up, 10, "the frozen worker goes on")
        both = Ledger(held_up.clicks + going_on.clicks, held_up.postbacks + going_on.postbacks)
        assert_answered_once(edge, both)
    assert held_up.broken + going_on.broken == []


async def test_clicks_need_no_supervisor(tmp_path: Path, valkey: Valkey) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey) as edge:
        worker = edge.worker_pid()
        assert edge.process is not None
        async with visiting(visitors_of(edge.port, ledger)):
            with frozen(edge.process.pid):
                started = time.monotonic()
                while time.monotonic() - started < LONGER_THAN_A_REPORT_IS_FRESH:
                    await more_clicks(ledger, 10)
            await meanwhile(lambda: edge.admin("/readyz").status == 200, "the supervisor knows its worker")
        assert edge.worker_pid() == worker
        await_true(lambda: edge.metric("milepost_edge_clicks_total") == len(ledger.clicks), "all clicks are counted")
        assert_answered_once(edge, ledger, spare=0)
    assert ledger.broken == []


async def test_clicks_need_no_valkey_that_answers_and_changes_come_when_it_does(tmp_path: Path, valkey: Valkey) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey) as edge:
        async with visiting(visitors_of(edge.port, ledger)):
            with frozen(pid_of(valkey)):
                for _ in range(8):
                    await more_clicks(ledger, 10)
                await meanwhile(lambda: edge.worker_report()["table_age_seconds"] > 3, "the table's age shows")
                assert edge.admin("/readyz").status == 200
            await meanwhile(lambda: edge.worker_report()["table_age_seconds"] < 2, "the table is confirmed again")
        assert ledger.broken == []
        assert (ledger.refused, ledger.refused_postbacks) == ({}, {})
        assert_answered_once(edge, ledger, spare=0)
        valkey.seed(2, [replace(CAMPAIGN, version=2, status="deleted")])
        await_true(lambda: edge.get(f"/c/{CAMPAIGN.uuid}").status == 404, "a change arrives")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_edge_starts_from_its_copy_beside_a_valkey_that_does_not_answer(
    tmp_path: Path, valkey: Valkey, workers: int
) -> None:
    with edge_at(tmp_path, valkey) as edge:
        await_true(edge.data_dir.routing_copy.exists, "the copy is written")
        assert edge.get(f"/c/{CAMPAIGN.uuid}").status == 302
    with frozen(pid_of(valkey)), edge_at(tmp_path, valkey, workers) as edge:
        edge.await_workers(range(workers))
        assert edge.get(f"/c/{CAMPAIGN.uuid}").status == 302
    assert len(edge.clicks()) == 2


def test_time_that_a_worker_stood_still_is_not_held_against_its_connections(tmp_path: Path, valkey: Valkey) -> None:
    request = b"GET /c/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % CAMPAIGN.uuid.encode()
    with edge_at(tmp_path, valkey) as edge, ExitStack() as closing:
        connections = [closing.enter_context(socket.create_connection(("127.0.0.1", edge.port))) for _ in range(20)]
        for connection in connections:
            connection.settimeout(10)
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 302 ")
        with frozen(edge.worker_pid()):
            time.sleep(LONGER_THAN_A_CONNECTION_MAY_IDLE)
            for connection in connections:
                connection.sendall(request)
        for connection in connections:
            assert connection.recv(4096).startswith(b"HTTP/1.1 302 ")
