"""Covers where edge, API and database are looked for. Leaves asking them to test_driver.py and test_api_client.py."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from management.rehearsal.endpoints import Endpoints, find_endpoints, require_trusted_loopback
from management.rehearsal.errors import RehearsalError
from shared.data_dir import DataDir, write_private
from shared.env import Settings, load


def settings(tmp_path: Path, **given: str) -> Settings:
    return load({"MILEPOST_DATA_DIR": str(tmp_path)} | {f"MILEPOST_{name}": value for name, value in given.items()})


def running(tmp_path: Path, **changes: str) -> None:
    """Write down what a running `milepost up` writes."""
    written = {
        "database_url": "postgresql://owner@127.0.0.1:5555/milepost",
        "edge_url": "http://localhost:9001",
        "api_url": "http://localhost:9002",
    }
    write_private(DataDir.at(tmp_path).endpoints, orjson.dumps(written | changes).decode())


def test_the_settings_say_it_where_nothing_runs(tmp_path: Path) -> None:
    found = find_endpoints(settings(tmp_path, EDGE_PORT="7001", API_PORT="7002"))
    assert found == Endpoints("http://localhost:7001", "http://localhost:7002", None)


def test_what_a_running_milepost_wrote_comes_before_the_settings(tmp_path: Path) -> None:
    running(tmp_path)
    found = find_endpoints(settings(tmp_path))
    assert found == Endpoints(
        "http://localhost:9001", "http://localhost:9002", "postgresql://owner@127.0.0.1:5555/milepost"
    )


def test_the_command_line_comes_first(tmp_path: Path) -> None:
    running(tmp_path)
    found = find_endpoints(settings(tmp_path), "http://10.0.0.1:1/", "https://api.example")
    assert (found.edge_url, found.api_url) == ("http://10.0.0.1:1", "https://api.example")


def test_a_database_of_ones_own_is_used(tmp_path: Path) -> None:
    running(tmp_path)
    own = "postgresql://me@db.example/x"
    assert find_endpoints(settings(tmp_path, DATABASE_URL=own)).database_url == own


def test_behind_a_public_name_the_listener_itself_is_asked(tmp_path: Path) -> None:
    running(tmp_path, edge_url="https://go.example", api_url="https://app.example")
    public = settings(
        tmp_path,
        EDGE_URL="https://go.example",
        EDGE_HOST="0.0.0.0",
        EDGE_PORT="80",
        API_URL="https://app.example",
        API_HOST="::1",
    )
    found = find_endpoints(public)
    assert (found.edge_url, found.api_url) == ("http://127.0.0.1:80", "http://[::1]:8081")


@pytest.mark.parametrize("written", ["", "[]", "{", '{"edge_url": 7}'])
def test_a_file_that_says_nothing_is_passed_over(tmp_path: Path, written: str) -> None:
    write_private(DataDir.at(tmp_path).endpoints, written)
    assert find_endpoints(settings(tmp_path)).edge_url == "http://localhost:8080"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x.example", "http://", "http://x.example:99999", "http://[x"])
def test_a_url_that_is_none_names_its_option(tmp_path: Path, url: str) -> None:
    with pytest.raises(RehearsalError, match="--edge must be a URL"):
        find_endpoints(settings(tmp_path), url)
    with pytest.raises(RehearsalError, match="--api must be a URL"):
        find_endpoints(settings(tmp_path), None, url)


def test_an_edge_that_does_not_trust_this_machine_is_refused(tmp_path: Path) -> None:
    require_trusted_loopback(settings(tmp_path))
    with pytest.raises(RehearsalError, match="MILEPOST_TRUSTED_PROXIES"):
        require_trusted_loopback(replace(settings(tmp_path), trusted_proxies=()))
