"""The API while Postgres or Redis is away, and the life of its process.

Each server here is the test's own, because it is stopped.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from management.accounts.service import EmailTaken, create_account, has_accounts
from management.api.app import run
from management.db.migrate import migrate
from management.db.pool import APP_ROLE, INGEST_ROLE, role_url
from management.embedded.postgres import EmbeddedPostgres
from shared.data_dir import DataDir
from shared.ids import KeyRing
from tests.api_server import PASSWORD, Api, caller, serving, settings
from tests.builders import Connection
from tests.stack import REPOSITORY

pytestmark = pytest.mark.asyncio(loop_scope="module")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest_asyncio.fixture(loop_scope="module")
async def own_postgres() -> AsyncIterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="milepost-test-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(DataDir.at(Path(folder)))
        await postgres.start()
        yield postgres
        await postgres.stop()


async def until(api: Api, status: int) -> None:
    deadline = time.monotonic() + 20
    while (await api.get("/api/v1/stats")).status != status:
        assert time.monotonic() < deadline, f"never {status}"
        await asyncio.sleep(0.05)


async def test_without_postgres_it_starts_says_503_and_recovers(
    own_postgres: EmbeddedPostgres, redis_url: str, obedient_edge: None
) -> None:
    ring = KeyRing.generate()
    url = own_postgres.url
    await migrate(url, ring)
    email = "owner@example.com"
    await create_account(role_url(url, APP_ROLE, ring), company_name="E", email=email, password=PASSWORD)
    await own_postgres.stop()
    async with serving(settings(url, redis_url), ring) as api:
        login = {"email": email, "password": PASSWORD}
        refused = await api.call("POST", "/api/v1/auth/token", login)
        assert (refused.status, refused.error["code"]) == (503, "UNAVAILABLE")
        assert refused.headers["Retry-After"] == "1"
        assert ((await api.get("/healthz")).status, (await api.get("/readyz")).status) == (200, 503)

        await own_postgres.start()
        api.token = (await api.call("POST", "/api/v1/auth/token", login)).body["token"]
        await until(api, 200)
        assert (await api.get("/readyz")).status == 200

        await own_postgres.stop()
        for method, path, body in (
            ("GET", "/api/v1/stats", None),
            ("POST", "/api/v1/campaigns", {"name": "x"}),
            ("GET", "/api/v1/clicks", None),
        ):
            answer = await api.call(method, path, body)
            assert (answer.status, answer.error["code"]) == (503, "UNAVAILABLE"), path
        await own_postgres.start()
        await until(api, 200)


async def test_without_redis_a_change_is_saved_and_said_not_to_be_propagated(
    database_url: str, owner_connection: Connection, ring: KeyRing
) -> None:
    away = f"redis://127.0.0.1:{closed_port()}/0"
    async with serving(settings(database_url, away), ring) as server:
        api = await caller(server, owner_connection, ring)
        started = time.monotonic()
        created = await api.call("POST", "/api/v1/campaigns", {"name": "x"})
        assert (created.status, created.data["propagated"]) == (201, False)
        path = f"/api/v1/campaigns/{created.data['id']}"
        assert (await api.call("PUT", path, {"name": "y"})).data["propagated"] is False
        assert (await api.call("PATCH", "/api/v1/account", {"company_name": "z"})).data["propagated"] is False
        assert (await api.call("DELETE", path)).data == {"id": created.data["id"], "deleted": True, "propagated": False}
        assert time.monotonic() - started < 4
        assert (await api.get("/readyz")).body == {"status": "ready", "postgres": True, "redis": False}


async def test_a_taken_port_is_one_clear_sentence(
    database_url: str, redis_url: str, ring: KeyRing, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        configured = settings(database_url, redis_url, API_PORT=str(port), SECRET_KEYS=ring.to_text())
        assert await run(configured) == 1
    error = capsys.readouterr().err
    assert error == f"milepost: the API cannot listen on 127.0.0.1 port {port}: Address already in use\n"


async def test_the_process_ends_in_order_on_sigterm(database_url: str, redis_url: str, ring: KeyRing) -> None:
    port = closed_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")} | {
        "MILEPOST_DATABASE_URL": database_url,
        "MILEPOST_REDIS_URL": redis_url,
        "MILEPOST_SECRET_KEYS": ring.to_text(),
        "MILEPOST_API_PORT": str(port),
    }
    command = (sys.executable, "-m", "management.cli", "api")
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=environ)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.returncode is None
            assert time.monotonic() < deadline
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            await writer.wait_closed()
            break
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_accounts_of_the_command_line(database_url: str, ring: KeyRing, redis_url: str) -> None:
    app_url = role_url(database_url, APP_ROLE, ring)
    ingest_url = role_url(database_url, INGEST_ROLE, ring)
    account_id, public_id = await create_account(
        app_url, company_name="First", email="First@Example.com", password=PASSWORD
    )
    assert public_id.startswith("acc_")
    assert await has_accounts(ingest_url)
    connection = await asyncpg.connect(database_url)
    user = await connection.fetchrow("SELECT email, role FROM users WHERE account_id = $1", account_id)
    await connection.close()
    assert user is not None
    assert tuple(user) == ("first@example.com", "owner")
    with pytest.raises(EmailTaken):
        await create_account(app_url, company_name="Second", email="first@example.COM", password=PASSWORD)
    for bad in ({"email": "none"}, {"password": "short"}, {"plan": "gold"}, {"company_name": " "}):
        fields = {"company_name": "x", "email": "new@example.com", "password": PASSWORD, **bad}
        with pytest.raises(ValueError, match=r"must|none"):
            await create_account(app_url, **fields)
