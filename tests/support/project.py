"""A project with migrations of its own: its folder, its CLI, and the database that its migrations are pushed to."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from click.testing import CliRunner

from local import binaries
from runner.commands import cli as runner
from tests.support import records
from tests.support.supabase_cli import SupabaseCli


@dataclass(frozen=True)
class Project:
    """The owner's project."""

    directory: Path
    cli: SupabaseCli
    url: str

    @property
    def migrations(self) -> Path:
        return self.directory / "supabase" / "migrations"

    def files(self) -> list[str]:
        return sorted(file.name for file in self.migrations.glob("*.sql"))

    def copy(self) -> list[str]:
        """Run our command. Returns the names of the files that it made."""
        before = self.files()
        ended = CliRunner().invoke(runner, ["migrations", str(self.directory)], catch_exceptions=False)
        assert ended.exit_code == 0, ended.stderr
        return [name for name in self.files() if name not in before]

    def listed(self) -> list[tuple[str, str]]:
        """The versions in the folder and in the database, as `supabase migration list` pairs them."""
        return [(migration["local"], migration["remote"]) for migration in self.cli.migrations(self.url)]

    def versions(self) -> list[str]:
        return [name.partition("_")[0] for name in self.files()]


def execute(url: str, statements: bytes) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def schema(url: str) -> str:
    """Every definition in a database, with owners, privileges and comments."""
    pg_dump = str(binaries.installation(18) / "bin" / "pg_dump")
    command = [pg_dump, "--schema-only", "--restrict-key=key", url]
    return subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout


def recorded(url: str) -> list[dict[str, Any]]:
    """The version and the name of each recorded migration."""
    with psycopg.connect(url) as connection:
        return records.rows(
            connection, "select version, name from supabase_migrations.schema_migrations order by version"
        )
