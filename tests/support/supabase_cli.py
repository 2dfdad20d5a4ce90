"""The Supabase CLI, against a database that a URL names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from local.binaries import NODE_MODULES
from local.migration import MIGRATIONS
from tests.support.programs import miss


class SupabaseCli:
    """The CLI in a directory of its own, with copies of migrations. It connects to nothing but the database."""

    def __init__(self, directory: Path, migrations: Path = MIGRATIONS) -> None:
        self._program = _program()
        self._directory = directory
        supabase = directory / "supabase"
        supabase.mkdir()
        shutil.copy(MIGRATIONS.with_name("config.toml"), supabase)
        shutil.copytree(migrations, supabase / "migrations")

    def push(self, database_url: str, *options: str) -> Any:
        """What `supabase db push` answers. Raises RuntimeError when the push fails."""
        return self._run("db", "push", "--db-url", _without_tls(database_url), "--yes", *options)

    def new_migration(self, name: str, statements: str) -> None:
        """Fill the file that `supabase migration new` makes, under a version of its own."""
        self._run("migration", "new", name)
        [file] = (self._directory / "supabase" / "migrations").glob(f"*_{name}.sql")
        file.write_text(statements)

    def migrations(self, database_url: str) -> Any:
        """What `supabase migration list` answers."""
        return self._run("migration", "list", "--db-url", _without_tls(database_url))["migrations"]

    def _run(self, *arguments: str) -> Any:
        ended = subprocess.run(
            [self._program, *arguments, "--output-format", "json"],
            cwd=self._directory,
            env={
                "PATH": os.defpath,
                "HOME": str(self._directory),
                "SUPABASE_TELEMETRY_DISABLED": "1",
                "SUPABASE_NO_UPDATE_NOTIFIER": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if ended.returncode != 0:
            raise RuntimeError(f"{ended.stderr}{ended.stdout}")
        return json.loads(ended.stdout)


def _program() -> str:
    for program in NODE_MODULES.glob("@supabase/cli-*/bin/supabase"):
        return str(program)
    miss("npm has no Supabase CLI for this machine")


def _without_tls(database_url: str) -> str:
    # The CLI demands TLS by default, which the embedded server does not have.
    return f"{database_url}?sslmode=disable"
