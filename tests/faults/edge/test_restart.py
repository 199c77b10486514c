"""Covers ends and beginnings under load: supervisors that follow one another on a socket somebody else holds, single
workers that are told to end or killed, and what stands in the accept queue when everything ends.

No connection is reset, no request goes without its answer, every answered click is in the journal once. Of a worker
that is killed only its own connections notice. Leaves kills at a chosen system call to test_crash_points.py.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.data_dir import DataDir
from tests.faults.edge.faulty_edge import (
    FaultyEdge,
    assert_answered_once,
    connected_to_each,
    is_alive,
    listens,
    more_clicks,
    pids_of,
    replaced,
)
from tests.faults.edge.visitors import CAMPAIGN, Ledger, Style, Visitor, visiting
from tests.integration.edge.harness import Valkey, await_true

STYLES: tuple[Style, ...] = ("kept", "kept", "kept", "kept", "single", "single", "single", "pipelined", "pipelined")
LINK = b"GET /c/%b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n" % CAMPAIGN.uuid.encode()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket that outlives every edge."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as held:
        yield held


def edge_at(tmp_path: Path, valkey: Valkey, workers: int, listener: socket.socket | None = None) -> FaultyEdge:
    (tmp_path / "edge").mkdir(exist_ok=True)
    settings = {"MILEPOST_EDGE_WORKERS": str(workers)}
    return FaultyEdge(DataDir.at(tmp_path / "edge"), valkey.url, settings, listener=listener)


def visitors_of(port: int, ledger: Ledger) -> list[Visitor]:
    return [Visitor(port, style, ledger, converts=True) for style in STYLES]


@pytest.mark.parametrize("workers", [1, 2])
async def test_supervisors_follow_one_another_without_a_broken_connection(
    tmp_path: Path, valkey: Valkey, listener: socket.socket, workers: int
) -> None:
    ledger = Ledger()
    edge = edge_at(tmp_path, valkey, workers, listener)
    with edge:
        await asyncio.to_thread(edge.await_workers, range(workers))
        async with visiting(visitors_of(edge.port, ledger)):
            for _ in range(2):
                await asyncio.sleep(0.7)
                before = len(ledger.clicks)
                assert await asyncio.to_thread(edge.stop) == 0
                assert len(ledger.clicks) > before
                edge.launch()
                await asyncio.to_thread(edge.await_workers, range(workers))
            await asyncio.sleep(0.5)
        assert edge.stop() == 0
    assert ledger.broken == []
    assert (ledger.refused, ledger.refused_postbacks) == ({}, {})
    assert len(ledger.clicks) > 200
    assert len(list(edge.data_dir.journal.iterdir())) == 3 * workers
    assert_answered_once(edge, ledger)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_worker_that_is_told_to_end_breaks_no_connection_and_is_replaced(
    tmp_path: Path, valkey: Valkey, workers: int
) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey, workers) as edge:
        await asyncio.to_thread(edge.await_workers, range(workers))
        async with visiting(visitors_of(edge.port, ledger)):
            for turn in range(2):
                await asyncio.sleep(0.5)
                old = edge.worker_pid(turn % workers)
                os.kill(old, signal.SIGTERM)
                await replaced(edge, workers, [old])
                assert not is_alive(old)
        assert edge.stop() == 0
    assert ledger.broken == []
    assert (ledger.refused, ledger.refused_postbacks) == ({}, {})
    assert edge.log().count('"status": 0') == 2
    assert_answered_once(edge, ledger)


async def test_of_a_killed_worker_only_its_own_connections_notice(tmp_path: Path, valkey: Valkey) -> None:
    with edge_at(tmp_path, valkey, 2) as edge:
        await asyncio.to_thread(edge.await_workers, (0, 1))
        first, second = pids_of(edge, 2)
        theirs, others = await connected_to_each(edge, 8)
        noticing, untouched = theirs[0].ledger, others[0].ledger
        async with visiting([*theirs, *others]):
            await asyncio.sleep(0.5)
            os.kill(first, signal.SIGKILL)
            await asyncio.sleep(0.5)
            assert is_alive(second)
            await replaced(edge, 2, [first])
            await more_clicks(untouched, 20)
        assert edge.worker_pid(1) == second
        assert untouched.broken == []
        assert 0 < len(noticing.broken) <= len(theirs)
        everything = Ledger(
            noticing.clicks + untouched.clicks,
            noticing.postbacks + untouched.postbacks,
            unanswered=noticing.unanswered,
        )
        assert_answered_once(edge, everything)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_stands_in_the_accept_queue_at_the_end_is_answered(tmp_path: Path, valkey: Valkey, workers: int) -> None:
    ledger = Ledger()
    with edge_at(tmp_path, valkey, workers) as edge:
        edge.await_workers(range(workers))
        stopped = pids_of(edge, workers)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        waiting = [socket.create_connection(("127.0.0.1", edge.port), timeout=15) for _ in range(50)]
        for connection in waiting[::2]:
            connection.sendall(LINK)
        assert edge.process is not None
        edge.process.terminate()
        await_true(lambda: not listens(edge), "the supervisor closed its own socket")
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        # The others' requests are still on their way when their connections are taken.
        time.sleep(0.3)
        for connection in waiting[1::2]:
            connection.sendall(LINK)
        answers = [read_to_end(connection) for connection in waiting]
        assert edge.process.wait(15) == 0
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 302")] == []
    ledger.clicks += [answer.partition(b"clickid=")[2].partition(b"&")[0].decode() for answer in answers]
    assert_answered_once(edge, ledger, spare=0)


def read_to_end(connection: socket.socket) -> bytes:
    """What the server sends until it closes; the kind of error where it does not end so."""
    received = b""
    with connection:
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        except OSError as error:
            return type(error).__name__.encode()
    return received
