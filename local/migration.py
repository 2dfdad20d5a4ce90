"""The project's migrations, applied and recorded as the Supabase CLI does it."""

from __future__ import annotations

from pathlib import Path

import psycopg

MIGRATIONS = Path(__file__).parent.parent / "supabase" / "migrations"


def apply_migrations(database_url: str, directory: Path = MIGRATIONS) -> None:
    """Apply what is not recorded yet, in order, each file in one transaction."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set statement_timeout = 0")  # which bounds what the API calls, not this
        rows = connection.execute("select version from supabase_migrations.schema_migrations").fetchall()
        applied = {version for (version,) in rows}
        for file in sorted(directory.glob("*.sql")):
            version, _, name = file.stem.partition("_")
            if version in applied:
                continue
            statements = file.read_text(encoding="utf-8")
            with connection.transaction():
                connection.execute(statements.encode())
                connection.execute(
                    "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
                    (version, [statements], name),
                )
