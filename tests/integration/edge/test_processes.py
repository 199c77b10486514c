"""The supervisor and its workers: restart after a kill, orderly end, admin port, settings, an inherited socket.

What a journal holds after a kill is the faults' business (tests/faults); here it is only read.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.data_dir import DataDir
from tests.integration.edge import rows
from tests.integration.edge.harness import REPOSITORY, Edge, Valkey, ask, await_true, free_port

LINK = f"/c/{rows.ACTIVE.uuid}"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_killed_worker_is_started_again_and_its_clicks_stay(own_edge: Edge) -> None:
    assert own_edge.get(LINK).status == 302
    await_true(lambda: "clicks_total{" in own_edge.admin("/metrics").body.decode(), "the click is counted")
    first = own_edge.worker_pid()
    os.kill(first, signal.SIGKILL)
    await_true(lambda: own_edge.worker_pid() != first, "another worker")
    await_true(lambda: own_edge.admin("/readyz").status == 200, "ready again")
    assert own_edge.get(LINK).status == 302
    assert len(own_edge.clicks()) == 2
    assert len(list(own_edge.data_dir.journal.iterdir())) == 2

    def counted() -> bool:
        text = own_edge.admin("/metrics").body.decode()
        return 'class="real",mode="click",outcome="redirected"} 2.0' in text and "worker_restarts_total 1.0" in text

    await_true(counted, "the dead worker's counts are kept")


def test_clicks_during_an_orderly_end_are_answered_or_refused_but_never_half_done(own_edge: Edge) -> None:
    answered: list[str] = []
    stopping = threading.Event()

    def click() -> None:
        while not stopping.is_set():
            try:
                answer = own_edge.get(LINK)
            except OSError:
                return
            answered.append(parse_qs(urlsplit(answer.location).query)["click"][0])

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    worker = own_edge.worker_pid()
    started = time.monotonic()
    status = own_edge.stop()
    lasted = time.monotonic() - started
    stopping.set()
    for thread in threads:
        thread.join()
    assert status == 0
    assert lasted < 5
    assert not alive(worker)
    assert len(answered) > 20
    stored = [event["id"] for event in own_edge.clicks()]
    assert set(answered) <= set(stored)
    assert len(stored) == len(set(stored))
    assert not own_edge.data_dir.pid_file("edge-0").exists()


def test_an_open_idle_connection_does_not_hold_up_the_end(own_edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", own_edge.port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        assert own_edge.stop() == 0
        assert time.monotonic() - started < 5


def test_workers_end_with_their_supervisor(own_edge: Edge) -> None:
    worker = own_edge.worker_pid()
    assert own_edge.process is not None
    own_edge.process.kill()
    own_edge.process.wait()
    await_true(lambda: not alive(worker), "the worker ends too", 10)


def test_several_workers_share_the_socket_and_the_counts(own_valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "several").mkdir()
    edge = Edge(DataDir.at(tmp_path / "several"), own_valkey.url, {"MILEPOST_EDGE_WORKERS": "2"})
    with edge:
        await_true(lambda: edge.admin("/readyz").json()["workers"] == [0, 1], "both workers are ready")
        for _ in range(60):
            assert edge.get(LINK).status == 302
        assert len(list(edge.data_dir.journal.iterdir())) == 2
        assert len({event["id"] for event in edge.clicks()}) == 60
        pattern = re.compile(r'clicks_total\{class="real",mode="click",outcome="redirected"\} 60\.0')
        await_true(lambda: pattern.search(edge.admin("/metrics").body.decode()), "all clicks are counted")
        first, second = edge.worker_pid(0), edge.worker_pid(1)
        os.kill(first, signal.SIGKILL)
        for _ in range(20):
            assert edge.get(LINK).status == 302
            assert edge.admin("/readyz").status == 200
        assert alive(second)
    assert edge.process is not None
    assert edge.process.returncode == 0


def test_durability_os_serves_and_stores_too(own_valkey: Valkey, tmp_path: Path) -> None:
    (tmp_path / "os").mkdir()
    with Edge(DataDir.at(tmp_path / "os"), own_valkey.url, {"MILEPOST_DURABILITY": "os"}) as edge:
        answer = edge.get(LINK)
        click = parse_qs(urlsplit(answer.location).query)["click"][0]
        assert edge.get(f"/api/v1/postback?clickid={click}").status == 200
        assert [event["id"] for event in edge.clicks()] == [click]
        assert len(edge.postbacks()) == 1


def test_a_full_journal_disk_is_503_and_another_worker(own_edge: Edge) -> None:
    """The worker's file size limit is lowered beneath it: every write fails as on a full disk, that of its log too."""
    import resource

    first = own_edge.worker_pid()
    resource.prlimit(first, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    answer = own_edge.get(LINK)
    assert (answer.status, answer.header("location")) == (503, None)
    assert int(answer.header("retry-after") or 0) > 0
    await_true(lambda: own_edge.worker_pid() != first, "another worker")
    await_true(lambda: own_edge.admin("/readyz").status == 200, "ready again")
    assert own_edge.get(LINK).status == 302
    assert len(own_edge.clicks()) == 1


def test_the_admin_port_tells_health_readiness_and_metrics(edge: Edge) -> None:
    health = edge.admin("/healthz").json()
    assert health["status"] == "Operational"
    assert health["ip_data"] == "Not configured"
    worker = health["workers"]["0"]
    assert (worker["ready"], worker["table_version"], worker["campaigns"]) == (True, 10, len(rows.CAMPAIGNS))
    assert worker["pid"] == edge.worker_pid()
    assert worker["table_age_seconds"] < 5
    assert edge.admin("/readyz").json() == {"ready": True, "workers": [0]}
    metrics = edge.admin("/metrics")
    assert (metrics.header("content-type") or "").startswith("text/plain; version=")
    assert 'milepost_edge_table_version{worker="0"} 10.0\n' in metrics.body.decode()
    assert edge.admin("/nothing").status == 404


def test_the_admin_port_listens_on_loopback_only(edge: Edge) -> None:
    wanted = f"0100007F:{edge.admin_port:04X}"
    table = Path("/proc/net/tcp").read_text()
    listening = [line.split()[1] for line in table.splitlines()[1:] if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{edge.admin_port:04X}")] == [wanted]


def test_ip_data_is_taken_up_while_running(own_edge: Edge) -> None:
    own_edge.data_dir.ip.mkdir()
    # Whole at once: an empty file that grows would be a list of nothing for a moment.
    draft = own_edge.data_dir.ip / "vpn.draft"
    draft.write_text("203.0.113.0/24\n")
    draft.rename(own_edge.data_dir.ip / "vpn.txt")
    await_true(lambda: own_edge.admin("/healthz").json()["ip_data"] != "Not configured", "the list is in use", 10)
    own_edge.get(LINK, X_Forwarded_For="203.0.113.5")
    assert own_edge.clicks()[-1]["class"] == 3


def run(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        env={**clean, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_bad_settings_are_told_all_at_once_with_status_2(tmp_path: Path) -> None:
    ended = run({"MILEPOST_DATA_DIR": str(tmp_path), "MILEPOST_EDGE_PORT": "x", "MILEPOST_NONSENSE": "1"})
    assert ended.returncode == 2
    assert "MILEPOST_EDGE_PORT" in ended.stderr
    assert "MILEPOST_NONSENSE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_key_ring_is_a_clear_sentence_with_status_2(tmp_path: Path) -> None:
    ended = run({"MILEPOST_DATA_DIR": str(tmp_path)})
    assert ended.returncode == 2
    assert "key ring" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("taken", ["MILEPOST_EDGE_PORT", "MILEPOST_EDGE_ADMIN_PORT"])
def test_a_taken_port_ends_the_edge_with_status_1(own_edge: Edge, taken: str) -> None:
    environment = {
        "MILEPOST_DATA_DIR": str(own_edge.data_dir.root),
        "MILEPOST_EDGE_PORT": str(free_port()),
        "MILEPOST_EDGE_ADMIN_PORT": str(free_port()),
    }
    environment[taken] = str(own_edge.port if taken == "MILEPOST_EDGE_PORT" else own_edge.admin_port)
    ended = run(environment)
    assert ended.returncode == 1
    assert "port not available" in ended.stderr
    assert own_edge.get(LINK).status == 302


def test_an_inherited_socket_is_served(own_valkey: Valkey, own_edge: Edge, tmp_path: Path) -> None:
    assert own_edge.stop() == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", "--fd", str(listener.fileno())],
            env=own_edge.environment(),
            cwd=REPOSITORY,
            pass_fds=(listener.fileno(),),
        )
        try:
            # nobody has to wait for the edge: the kernel holds the connection until a worker takes it
            assert ask(port, LINK).status == 302
        finally:
            process.terminate()
            assert process.wait(15) == 0
