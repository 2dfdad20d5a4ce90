"""The real Supabase CLI migrates a project as `apply_migrations` does. The embedded project stands for a hosted one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local.migration import MIGRATIONS, apply_migrations
from local.postgres import Postgres
from tests.support import records
from tests.support.project import execute, recorded, schema
from tests.support.supabase_cli import SupabaseCli

FILES = [file.name for file in sorted(MIGRATIONS.glob("*.sql"))]
EXISTING_PROJECT = (Path(__file__).parents[1] / "database" / "existing_project.sql").read_bytes()
TABLES = {"new": b"", "existing": EXISTING_PROJECT}

pytestmark = pytest.mark.slow  # each start of the CLI takes two seconds


@dataclass(frozen=True)
class Twins:
    """The URLs of two equal projects. The CLI has migrated one, `apply_migrations` the other."""

    pushed: str
    applied: str
    answer: Any  # the CLI's


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> SupabaseCli:
    return SupabaseCli(tmp_path_factory.mktemp("cli"))


def create_project(postgres: Postgres, name: str, tables: bytes) -> str:
    url = postgres.create_database(name)
    execute(url, tables)
    return url


@pytest.fixture(scope="module", params=["new", "existing"])
def twins(request: pytest.FixtureRequest, postgres: Postgres, cli: SupabaseCli) -> Twins:
    tables = TABLES[request.param]
    pushed = create_project(postgres, f"pushed {request.param}", tables)
    # The CLI creates the table of migrations in a hosted project.
    execute(pushed, b"drop schema supabase_migrations cascade")
    answer = cli.push(pushed)
    applied = create_project(postgres, f"applied {request.param}", tables)
    apply_migrations(applied)
    return Twins(pushed, applied, answer)


def content(url: str) -> tuple[str, dict[str, list[str]], list[dict[str, Any]]]:
    """Every definition, row and recorded migration."""
    with psycopg.connect(url) as connection:
        query = "select xmin::text, m.* from supabase_migrations.schema_migrations m order by version"
        return schema(url), records.everything(connection), records.rows(connection, query)


def test_a_push_applies_every_migration_in_order(twins: Twins) -> None:
    assert twins.answer["migrations"] == FILES


def test_a_push_makes_the_same_schema_and_the_same_records_as_apply_migrations(twins: Twins) -> None:
    assert schema(twins.pushed) == schema(twins.applied)
    assert recorded(twins.pushed) == recorded(twins.applied)


def test_the_cli_lists_every_migration_as_applied_on_both_sides(twins: Twins, cli: SupabaseCli) -> None:
    versions = [name.partition("_")[0] for name in FILES]
    listed = [(migration["local"], migration["remote"]) for migration in cli.migrations(twins.pushed)]
    assert listed == list(zip(versions, versions, strict=True))


def test_a_second_push_changes_nothing(twins: Twins, cli: SupabaseCli) -> None:
    before = content(twins.pushed)
    assert cli.push(twins.pushed)["message"] == "Remote database is up to date."
    assert content(twins.pushed) == before


def test_apply_migrations_changes_nothing_after_a_push(twins: Twins) -> None:
    before = content(twins.pushed)
    apply_migrations(twins.pushed)
    assert content(twins.pushed) == before


def test_a_refused_push_changes_nothing_and_the_next_push_applies_all(postgres: Postgres, cli: SupabaseCli) -> None:
    unusable = EXISTING_PROJECT + b"alter table contacts rename column country to land"
    pushed = create_project(postgres, "pushed unusable", unusable)
    applied = create_project(postgres, "applied unusable", unusable)

    with pytest.raises(RuntimeError, match=r"column public\.contacts\.country is missing"):
        cli.push(pushed)
    with pytest.raises(psycopg.errors.RaiseException, match=r"column public\.contacts\.country is missing"):
        apply_migrations(applied)

    assert recorded(pushed) == recorded(applied) == []
    assert schema(pushed) == schema(applied)

    execute(pushed, b"alter table contacts rename column land to country")
    assert cli.push(pushed)["migrations"] == FILES
