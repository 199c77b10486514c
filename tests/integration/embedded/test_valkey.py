"""The embedded Valkey by itself. Left to other files: its place in `milepost up` (`test_up`), what the publisher puts
into it (its own tests)."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import AuthenticationError

from management.embedded.valkey import EmbeddedValkey, answers_ping, server_config
from shared.data_dir import DataDir


@pytest.fixture
async def valkey(data_dir: DataDir) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(data_dir)
    await server.start()
    yield server
    await server.stop()


def client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.from_url(url, socket_timeout=5)


async def test_it_serves_who_has_the_password_and_evicts_nothing(valkey: EmbeddedValkey, data_dir: DataDir) -> None:
    async with client(valkey.url) as known:
        await known.set("a", "1")
        assert await known.get("a") == b"1"
        assert (await known.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        bound = (await known.config_get("maxmemory"))["maxmemory"]
        assert bound is not None
        assert 64 * 2**20 <= int(bound) <= 512 * 2**20
    port = valkey.url.split(":")[-1].removesuffix("/0")
    async with client(f"redis://127.0.0.1:{port}/0") as stranger:
        with pytest.raises(AuthenticationError):
            await stranger.get("a")
    assert not await answers_ping(int(port), "wrong")


async def test_its_password_is_in_a_private_file_and_nowhere_else(valkey: EmbeddedValkey, data_dir: DataDir) -> None:
    path = data_dir.secrets / "valkey-password"
    password = path.read_bytes().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    for place in ("cmdline", "environ"):
        assert password not in Path(f"/proc/{valkey.pid}/{place}").read_bytes()
    assert password not in (data_dir.logs / "valkey.log").read_bytes()


async def test_after_a_kill_it_starts_empty_on_the_same_port(valkey: EmbeddedValkey) -> None:
    url = valkey.url
    async with client(url) as before:
        await before.set("a", "1")
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)
    assert await valkey.exited() == -signal.SIGKILL
    assert await valkey.start() == url
    async with client(url) as after:
        assert await after.get("a") is None


async def test_a_stop_ends_it_in_order_and_leaves_no_files(valkey: EmbeddedValkey, data_dir: DataDir) -> None:
    async with client(valkey.url) as writer:
        await writer.set("a", "1")
    await valkey.stop()
    assert await valkey.exited() == 0
    assert list(data_dir.valkey.iterdir()) == []
    assert list(data_dir.run.iterdir()) == []


@pytest.mark.parametrize(("gib", "bound"), [(0.1, 64), (2, 256), (64, 512)])
def test_the_bound_follows_the_machine(gib: float, bound: int) -> None:
    assert f"\nmaxmemory {bound * 2**20}\n" in server_config(1, Path("/d"), "p", int(gib * 2**30))
