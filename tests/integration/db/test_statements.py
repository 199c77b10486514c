"""Covers every named SQL statement: each is prepared against the migrated schema."""

from pathlib import Path

import asyncpg

from management.db.queries import Queries

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for path in (ROOT / "management").rglob("*.sql") if path.parent.name != "migrations")
SESSION_TABLES = "make_incoming"
"""Statements that make the temporary tables which others of their file name; run instead of prepared."""


async def test_every_statement_is_valid_in_the_migrated_schema(database_url: str) -> None:
    invalid = []
    prepared = 0
    for path in FILES:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        statements = dict(Queries(package, path.name).statements)
        connection = await asyncpg.connect(database_url)
        if SESSION_TABLES in statements:
            await connection.execute(statements.pop(SESSION_TABLES))
        for name, text in statements.items():
            try:
                await connection.prepare(text)
            except asyncpg.PostgresError as error:
                invalid.append(f"{package}/{path.name}: {name}: {error}")
            prepared += 1
        await connection.close()
    assert invalid == []
    assert prepared > 20
