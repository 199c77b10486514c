"""Covers every named SQL statement: each is prepared against the migrated schema, by the role that runs it."""

from pathlib import Path

import asyncpg
import pytest

from management.db.queries import Queries

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for path in (ROOT / "management").rglob("*.sql") if path.parent.name != "migrations")


def statements() -> list[object]:
    found = []
    for path in FILES:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        for name, text in Queries(package, path.name).statements.items():
            found.append(pytest.param(text, id=f"{package}.{path.stem}:{name}"))
    return found


@pytest.mark.parametrize("text", statements())
async def test_a_statement_is_valid_in_the_migrated_schema(database_url: str, text: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        if text.startswith("CREATE TEMP"):
            await connection.execute(text)
        else:
            await connection.prepare(text)
    finally:
        await connection.close()
