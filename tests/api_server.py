"""The API under test: the application behind its real server, over a real Postgres and a real Valkey."""

import asyncio
import functools
import io
import json
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import pytest_asyncio

from management.api.app import Server, create_app, server_config
from management.api.passwords import hash_password
from management.api.tokens import Credential, Tokens
from management.embedded.valkey import EmbeddedValkey
from management.publisher import open_redis
from shared.campaigns import REDIS_EDGES
from shared.data_dir import DataDir
from shared.env import Settings, load
from shared.ids import ClickIds, KeyRing
from tests import postgres
from tests.builders import Connection, store_account, store_user

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def data(self) -> Any:
        assert self.body["success"] is True, self.body
        return self.body["data"]

    @property
    def error(self) -> Any:
        assert self.body["success"] is False, self.body
        return self.body["error"]


@dataclass
class Api:
    """A client of the running API; `token` is sent where it is set."""

    url: str
    session: aiohttp.ClientSession
    ids: ClickIds
    token: str | None = None
    account_id: int = 0
    email: str = ""

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        given = dict(headers or {})
        if self.token is not None:
            given.setdefault("Authorization", f"Bearer {self.token}")
        content = json.dumps(body).encode() if raw is None and body is not None else raw
        payload = None if content is None else io.BytesIO(content)
        if payload is not None:
            given.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=payload, headers=given, params=params, allow_redirects=False,
            skip_auto_headers=("Content-Type",),
        ) as answer:  # fmt: skip
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **params: str) -> Answer:
        return await self.call("GET", path, params=params or None)

    def anonymous(self) -> "Api":
        return Api(self.url, self.session, self.ids)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """A running Valkey, a file's own like its database: campaigns of two databases share their numbers."""
    with tempfile.TemporaryDirectory(prefix="milepost-test-", ignore_cleanup_errors=True) as folder:
        valkey = EmbeddedValkey(DataDir.at(Path(folder)))
        url = asyncio.run(valkey.start())
        try:
            yield url
        finally:
            asyncio.run(valkey.stop())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database_url(server_url: str) -> AsyncIterator[str]:
    """A migrated database for the tests of one file, each in an account of its own."""
    url = await postgres.make_database(server_url)
    yield url
    await postgres.drop_database(server_url, url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def obedient_edge(redis_url: str) -> AsyncIterator[None]:
    """An edge that reports every version as taken into use, so that changes answer at once."""
    redis = open_redis(redis_url)
    report = {"version": 10**12, "at": time.time_ns() // 1_000_000 + 3_600_000}
    await redis.hset(REDIS_EDGES, "an edge", orjson.dumps(report).decode())
    yield
    await redis.hdel(REDIS_EDGES, "an edge")
    await redis.aclose()


def settings(database_url: str, redis_url: str, **environ: str) -> Settings:
    named = {f"MILEPOST_{name}": value for name, value in environ.items()}
    return load({"MILEPOST_DATABASE_URL": database_url, "MILEPOST_REDIS_URL": redis_url, **named})


@asynccontextmanager
async def serving(settings: Settings, ring: KeyRing) -> AsyncIterator[Api]:
    """The API on a free port, until the block ends."""
    # Named as TCP, so that asyncio sends small answers at once; without it each costs 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(server_config(create_app(settings, ring)))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not task.done(), "the server ended while starting"
            await asyncio.sleep(0.005)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
                yield Api(f"http://127.0.0.1:{listener.getsockname()[1]}", session, ClickIds(ring))
        finally:
            server.should_exit = True
            await task


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner_connection(database_url: str) -> AsyncIterator[Connection]:
    """The database past all policies, for builders and judges."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(database_url: str, redis_url: str, ring: KeyRing, obedient_edge: None) -> AsyncIterator[Api]:
    """The API, called by nobody yet."""
    async with serving(settings(database_url, redis_url), ring) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(server: Api, owner_connection: Connection, ring: KeyRing) -> Api:
    """The API, called by the owner of a fresh account."""
    return await caller(server, owner_connection, ring)


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(server: Api, owner_connection: Connection, ring: KeyRing) -> Api:
    """The API, called by the owner of another account."""
    return await caller(server, owner_connection, ring)


async def caller(server: Api, connection: Connection, ring: KeyRing, *, role: str = "owner", of: int = 0) -> Api:
    """A user with a token: of the account `of`, or of a fresh one."""
    account_id = of or await store_account(connection)
    email = f"{role}-{secrets.token_hex(6)}@example.com"
    user_id = await store_user(connection, account_id, email, role, password_hash=_password_hash())
    token = Tokens(ring).issue(Credential(user_id, account_id, 1), int(time.time()))
    return Api(server.url, server.session, server.ids, token, account_id, email)


@functools.cache
def _password_hash() -> str:
    return hash_password(PASSWORD)
