"""A project with migrations of its own, older and newer than ours, gets ours beside them, by the real Supabase CLI."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from local.migration import MIGRATIONS, apply_migrations
from local.postgres import Postgres
from tests.support.documentation import ROOT, Page, shell
from tests.support.next_release import COLUMN, FUNCTIONS, write_next_release
from tests.support.project import Project, execute, recorded, schema
from tests.support.supabase_cli import SupabaseCli

OURS = [file.name for file in sorted(MIGRATIONS.glob("*.sql"))]
OLDER = (Path(__file__).parents[1] / "database" / "existing_project.sql").read_text()
UNINSTALL = MIGRATIONS.with_name("uninstall.sql").read_bytes()
PAGE = Page("docs/operations.md")

pytestmark = pytest.mark.slow  # each start of the CLI takes two seconds


@pytest.fixture(scope="module")
def project(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Pushed, without ours."""
    own = tmp_path_factory.mktemp("own")
    (own / "20200101000000_create_everything.sql").write_text(OLDER)
    (own / "20261125000000_create_notes.sql").write_text("create table notes (id bigint primary key);")
    directory = tmp_path_factory.mktemp("project")
    url = postgres.create_database("project with migrations")
    project = Project(directory, SupabaseCli(directory, own), url)
    project.cli.push(url)
    return project


@pytest.fixture(scope="module")
def copies(project: Project) -> list[str]:
    """Our files in the project, copied and pushed as they need to be: without --include-all."""
    copied = project.copy()
    assert project.cli.push(project.url)["migrations"] == copied
    return copied


def test_a_push_from_our_clone_is_refused_and_changes_nothing(project: Project, tmp_path: Path) -> None:
    before = schema(project.url)
    with pytest.raises(RuntimeError, match="Remote migration versions not found in local migrations directory"):
        SupabaseCli(tmp_path).push(project.url, "--include-all")
    assert schema(project.url) == before


def test_our_migrations_are_pushed_after_those_of_the_project(project: Project, copies: list[str]) -> None:
    assert [name.partition("_campaign_runner_")[2] for name in copies] == [name.partition("_")[2] for name in OURS]
    assert project.listed() == [(version, version) for version in project.versions()]


def test_a_second_copy_makes_no_file(project: Project, copies: list[str]) -> None:
    assert project.copy() == []


def test_declared_schemas_with_the_copies_make_the_schema_that_the_migrations_make(
    project: Project, copies: list[str], postgres: Postgres
) -> None:
    """These are the two databases that `supabase db diff` compares. The command itself needs Docker."""
    folder = project.directory / "supabase"
    (folder / "schemas").mkdir()
    (folder / "schemas" / "everything.sql").write_text(OLDER + "create table notes (id bigint primary key);")
    [config] = PAGE.blocks("toml")
    declared = postgres.create_database("project as declared")
    for pattern in tomllib.loads(config)["db"]["migrations"]["schema_paths"]:
        for file in sorted(folder.glob(pattern.removeprefix("./"))):
            execute(declared, file.read_bytes())

    assert schema(declared) == schema(project.url)


def test_the_next_migrations_of_the_project_are_pushed_and_a_new_database_gets_the_same_schema(
    project: Project, copies: list[str], postgres: Postgres
) -> None:
    project.cli.new_migration("add_title", "alter table notes add column title text;")
    [added] = project.cli.push(project.url)["migrations"]
    assert added > copies[-1]
    # A branch that is merged later has an earlier version.
    (project.migrations / "20261126000000_add_body.sql").write_text("alter table notes add column body text;")
    with pytest.raises(RuntimeError, match="inserted before the last migration on remote database"):
        project.cli.push(project.url)
    assert project.cli.push(project.url, "--include-all")["migrations"] == ["20261126000000_add_body.sql"]

    built = postgres.create_database("project built anew")
    apply_migrations(built, project.migrations)
    assert recorded(built) == recorded(project.url)
    columns = re.compile(r"CREATE TABLE public.notes \([^;]*;")  # in the order in which they were added
    assert columns.sub("", schema(built)) == columns.sub("", schema(project.url))


def test_an_upgrade_before_1_0_installs_anew_as_the_page_says(project: Project, copies: list[str]) -> None:
    before = schema(project.url)
    [forget] = PAGE.blocks("sql", "where name like")
    execute(project.url, UNINSTALL + forget.encode())
    for name in copies:
        (project.migrations / name).unlink()
    copied = project.copy()
    assert project.cli.push(project.url)["migrations"] == copied
    assert schema(project.url) == before
    assert project.listed() == [(version, version) for version in project.versions()]


def test_a_project_that_was_pushed_from_our_clone_gets_migrations_of_its_own_as_the_page_says(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.create_database("pushed from our clone")
    apply_migrations(url)
    before = schema(url)
    [forget] = PAGE.blocks("sql", "where version between")
    execute(url, forget.encode())
    own = tmp_path / "own"
    own.mkdir()
    project = Project(tmp_path, SupabaseCli(tmp_path, own), url)
    copied = project.copy()
    assert project.cli.push(url)["migrations"] == copied
    assert project.listed() == [(version, version) for version in project.versions()]
    assert schema(url) == before


def test_the_next_release_is_copied_and_pushed_as_the_page_says(
    project: Project, copies: list[str], tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    write_next_release(clone / "supabase" / "migrations")
    (clone / "runner").symlink_to(ROOT / "runner")
    (tmp_path / "my-project").symlink_to(project.directory)
    copy, push, *_ = Page("docs/upgrading.md").blocks("sh")[0].splitlines()
    before = project.files()

    shell(copy, {"PYTHONPATH": str(clone)}, clone)

    copied = [name for name in project.files() if name not in before]
    assert [name.partition("_campaign_runner_")[2] for name in copied] == [
        name.partition("_")[2] for name in (COLUMN, FUNCTIONS)
    ]
    assert push == "cd ../my-project && supabase db push"
    assert project.cli.push(project.url)["migrations"] == copied
