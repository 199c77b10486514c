"""Covers books that begin in a database which is in use: every stream opens balanced, and the installation's own account
is found, also by an owner whom the policies bind. And that whoever makes the first account has it."""

import asyncpg
import pytest

from management.accounts.service import create_account
from management.db import migrate as migrating
from management.db.migrate import migrate, migrations
from management.db.pool import APP_ROLE, INGEST_ROLE, connect, role_url
from management.jobs.books import check_books
from shared.ids import KeyRing
from tests import postgres
from tests.integration.books.ledger import terms

A, B = b"a" * 16, b"b" * 16
BEFORE = 5


async def test_a_database_in_use_opens_balanced(
    plain_owner_url: str, server_url: str, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: every[:BEFORE])
        await migrate(plain_owner_url, ring)
    past_policies = await asyncpg.connect(postgres.database_url(server_url, plain_owner_url.rpartition("/")[2]))
    for number in (7, 4):
        await past_policies.execute(
            "INSERT INTO accounts (id, public_id, company_name, routing_version) VALUES ($1, $2, 'A', 1)",
            number,
            f"acc_{number}",
        )
    await past_policies.execute("INSERT INTO stream_positions (stream, next) VALUES ($1, 13), ($2, 1)", A, B)
    await past_policies.execute(
        "INSERT INTO dead_letters (stream, seq, kind, payload, reason) VALUES ($1, 3, 1, '', 'x'), ($1, 4, 1, '', 'x')",
        A,
    )
    await past_policies.execute("INSERT INTO lost_records VALUES ($1, 5, 7, 'damaged')", A)
    assert "0006_books.sql" in await migrate(plain_owner_url, ring)
    assert await terms(past_policies, A) == {"opening": 7, "dead_lettered": 2, "lost": 3, "last_seq": 12}
    assert await terms(past_policies, B) == {}
    assert await past_policies.fetchval("SELECT owner FROM installation") == 4
    ingest = await connect(role_url(plain_owner_url, INGEST_ROLE, ring), application="test books")
    checked = await check_books(ingest)
    ingest.terminate()
    assert checked is not None
    assert checked.balanced, checked.alarms
    await past_policies.close()


async def test_the_first_account_is_the_installation_s(plain_owner_url: str, server_url: str, ring: KeyRing) -> None:
    await migrate(plain_owner_url, ring)
    app_url = role_url(plain_owner_url, APP_ROLE, ring)
    made = [
        await create_account(app_url, company_name="A", email=f"a{number}@example.org", password="correct horse")
        for number in range(2)
    ]
    past_policies = await asyncpg.connect(postgres.database_url(server_url, plain_owner_url.rpartition("/")[2]))
    assert await past_policies.fetchval("SELECT owner FROM installation") == made[0][0]
    await past_policies.close()
