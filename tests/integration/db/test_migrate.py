"""Covers the schema's own promises: repeatable migration, tenants walled off by the database itself, days made on
demand. What the statements of each slice do is tested beside that slice."""

from datetime import date

import asyncpg
import pytest

from management.db.migrate import MigrationError, migrate, migrations
from management.db.pool import APP_ROLE, INGEST_ROLE, connect, open_pool, reading
from shared.ids import KeyRing

TENANT_TABLES = (
    "accounts",
    "users",
    "campaigns",
    "clicks",
    "postbacks",
    "click_deltas",
    "postback_deltas",
    "click_labels",
    "conversions",
    "r15",
    "account_sums",
)


async def two_accounts(owner_url: str) -> None:
    owner = await asyncpg.connect(owner_url)
    for number in (1, 2):
        await owner.execute(
            "INSERT INTO accounts (id, public_id, company_name, routing_version) VALUES ($1, $2, 'A', 1)",
            number,
            f"acc_{number}",
        )
        await owner.execute(
            "INSERT INTO users (account_id, email, name, role, password_hash) VALUES ($1, $2, 'U', 'owner', 'x')",
            number,
            f"u{number}@example.org",
        )
        await owner.execute(
            "INSERT INTO r15 (account_id, campaign_id, bucket, basis, class, fraud, outcome, clicks)"
            " VALUES ($1, 1, now(), 0, 1, 0, 1, 1)",
            number,
        )
    await owner.close()


async def test_a_second_migration_finds_nothing_to_do(database_url: str, ring: KeyRing) -> None:
    assert await migrate(database_url, ring) == []


async def test_a_changed_migration_file_is_refused(database_url: str, ring: KeyRing) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("UPDATE schema_migrations SET checksum = 'other' WHERE number = 1")
    await owner.close()
    with pytest.raises(MigrationError, match="was changed after it had been applied"):
        await migrate(database_url, ring)


async def test_a_database_of_a_newer_milepost_is_refused(database_url: str, ring: KeyRing) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("INSERT INTO schema_migrations VALUES ($1, 'later', 'x')", len(migrations()) + 1)
    await owner.close()
    with pytest.raises(MigrationError, match="newer milepost"):
        await migrate(database_url, ring)


async def test_without_an_account_the_application_role_sees_no_row(database_url: str, app_url: str) -> None:
    await two_accounts(database_url)
    connection = await connect(app_url, application="test")
    for table in TENANT_TABLES:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    await connection.close()


async def test_with_an_account_the_application_role_sees_only_that_account(database_url: str, app_url: str) -> None:
    await two_accounts(database_url)
    async with await open_pool(app_url, application="test", size=1) as pool:
        async with reading(pool, 2) as connection:
            assert await connection.fetchval("SELECT array_agg(account_id) FROM users") == [2]
            assert await connection.fetchval("SELECT array_agg(id) FROM accounts") == [2]
            assert await connection.fetchval("SELECT array_agg(account_id) FROM r15") == [2]
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM users") == 0, "the setting outlived its transaction"


async def test_every_table_with_an_account_has_a_forced_policy(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    rows = await owner.fetch(
        "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'account_id'"
        " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace"
    )
    await owner.close()
    assert {row["relname"] for row in rows} >= set(TENANT_TABLES) - {"accounts"}
    assert [row["relname"] for row in rows if not row["forced"]] == []


async def test_what_strangers_sent_is_for_no_tenant_to_read_or_write(database_url: str, app_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    rights = await owner.fetch(
        "SELECT grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE table_name = 'strangers' AND grantee <> grantor"
    )
    await owner.close()
    assert {tuple(row) for row in rights} == {(INGEST_ROLE, right) for right in ("SELECT", "INSERT", "DELETE")}
    connection = await connect(app_url, application="test")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT FROM strangers")
    await connection.close()


async def test_nobody_but_ingest_has_a_right_on_a_partition_and_it_may_only_insert(
    database_url: str, ingest_url: str
) -> None:
    ingest = await connect(ingest_url, application="test")
    await ingest.execute("SELECT ensure_click_day($1)", date(2026, 1, 2))
    await ingest.execute("SELECT ensure_click_day($1)", date(2026, 1, 2))
    await ingest.close()
    owner = await asyncpg.connect(database_url)
    partitions = await owner.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits")
    rights = await owner.fetch(
        "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = ANY($1) AND table_name = ANY($2)",
        [APP_ROLE, INGEST_ROLE],
        [row["name"] for row in partitions],
    )
    await owner.close()
    assert {row["name"] for row in partitions} >= {"clicks_20260102", "click_labels_20260102"}
    # Ingest copies clicks into their day, which the wall around the parent lets nobody do.
    assert {tuple(row) for row in rights} == {("clicks_20260102", INGEST_ROLE, "INSERT")}
