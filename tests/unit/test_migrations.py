from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from runner.commands import cli, migrations

OURS = sorted(migrations.OURS.glob("*.sql"))
NOW = datetime(2026, 12, 1, 10, 0, 0, tzinfo=UTC)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["migrations", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two migrations of its own, one of them newer than ours."""
    folder = tmp_path / "project" / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20200101000000_create_ledger.sql").write_text("create table ledger (id bigint);")
    (folder / "20261125000000_campaign_runner_notes.sql").write_text("create table notes (id bigint);")
    return tmp_path / "project"


def files(project: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (project / "supabase" / "migrations").glob("*.sql")}


def versions(plan: migrations.Plan) -> list[str]:
    return [copy.name[:14] for _, copy in plan.copies]


def test_the_copies_have_our_content_and_order_under_versions_that_end_now(project: Path) -> None:
    plan = migrations.make_plan(project, NOW)
    seconds = range(len(OURS) - 1, -1, -1)
    assert versions(plan) == [f"{NOW - timedelta(seconds=n):%Y%m%d%H%M%S}" for n in seconds]
    before = files(project)
    migrations.carry_out(plan.copies)
    copies = sorted(set(files(project)) - set(before))
    assert [name[15:] for name in copies] == [f"campaign_runner_{file.name[15:]}" for file in OURS]
    assert [files(project)[name] for name in copies] == [file.read_bytes() for file in OURS]
    assert before.items() <= files(project).items()


def test_the_versions_are_in_utc(project: Path) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert migrations.make_plan(project, elsewhere) == migrations.make_plan(project, NOW)


@pytest.mark.parametrize("latest", ["20261201095955", "20261201100000", "20270101235959"])
def test_the_versions_come_after_every_version_that_is_there(project: Path, latest: str) -> None:
    (project / "supabase" / "migrations" / f"{latest}_own.sql").touch()
    plan = migrations.make_plan(project, NOW)
    first = datetime.strptime(latest, "%Y%m%d%H%M%S") + timedelta(seconds=1)
    assert versions(plan) == [f"{first + timedelta(seconds=n):%Y%m%d%H%M%S}" for n in range(len(OURS))]


@pytest.mark.parametrize("latest", ["9", "2027", "20270101000", "20279999999999"])
def test_a_later_version_that_is_no_time_is_refused(project: Path, latest: str) -> None:
    (project / "supabase" / "migrations" / f"{latest}_own.sql").touch()
    result = invoke(project)
    assert result.exit_code == 2
    assert f"{latest}_own.sql comes after every migration of today" in result.stderr


@pytest.mark.parametrize("name", ["1_own.sql", "20260101_own.sql", "99990101000000.sql", "later_own.sql", "9_own.txt"])
def test_earlier_versions_and_files_that_the_cli_ignores_are_no_obstacle(project: Path, name: str) -> None:
    (project / "supabase" / "migrations" / name).touch()
    assert versions(migrations.make_plan(project, NOW))[-1] == f"{NOW:%Y%m%d%H%M%S}"


def test_the_command_says_what_was_copied_and_what_to_do_next(project: Path) -> None:
    result = invoke(project)
    assert result.exit_code == 0
    assert [file.name for file in OURS if f"campaign_runner_{file.name[15:]}\n" not in result.stdout] == []
    assert f"{len(OURS)} migrations copied, 0 were there before." in result.stdout
    said = " ".join(result.stdout.split())
    assert "run `supabase db push` in that project" in said
    assert "Never run `supabase migration repair`" in said
    assert len(files(project)) == len(OURS) + 2


def test_a_second_call_copies_nothing(project: Path) -> None:
    invoke(project)
    before = files(project)
    result = invoke(project)
    assert (result.exit_code, files(project)) == (0, before)
    assert f"0 migrations copied, {len(OURS)} were there before." in result.stdout


def test_an_upgrade_copies_only_what_is_new(project: Path, tmp_path: Path) -> None:
    invoke(project)
    ours = tmp_path / "ours"
    ours.mkdir()
    for file in OURS:
        (ours / file.name).write_bytes(file.read_bytes())
    (ours / "20270101000000_add_something.sql").touch()
    later = datetime.now(UTC) + timedelta(days=1)
    plan = migrations.make_plan(project, later, ours=ours)
    assert [copy.name for _, copy in plan.copies] == [f"{later:%Y%m%d%H%M%S}_campaign_runner_add_something.sql"]
    assert (len(plan.present), plan.differing) == (len(OURS), [])


def test_a_copy_that_was_cut_off_by_an_error_is_completed(project: Path) -> None:
    migrations.carry_out(migrations.make_plan(project, NOW).copies[:4])
    assert f"{len(OURS) - 4} migrations copied, 4 were there before." in invoke(project).stdout


def test_a_copy_under_its_own_name_counts(project: Path) -> None:
    for file in OURS:
        (project / "supabase" / "migrations" / file.name).write_bytes(file.read_bytes())
    assert migrations.make_plan(project, NOW).copies == []


def test_other_ends_of_lines_are_no_difference(project: Path) -> None:
    invoke(project)
    for file in (project / "supabase" / "migrations").glob("*_campaign_runner_*.sql"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert invoke(project).exit_code == 0


def test_a_copy_with_another_content_is_named_and_nothing_is_copied(project: Path) -> None:
    migrations.carry_out(migrations.make_plan(project, NOW).copies[:4])
    [changed] = (project / "supabase" / "migrations").glob("*_campaign_runner_create_ledger.sql")
    changed.write_text("-- of an earlier release")
    before = files(project)
    result = invoke(project)
    assert (result.exit_code, result.stdout, files(project)) == (1, "", before)
    assert f"  {changed}\n" in result.stderr
    assert "Before 1.0, migrations change in place." in result.stderr


def test_a_dry_run_shows_the_copies_and_writes_nothing(project: Path) -> None:
    before = files(project)
    result = invoke(project, "--dry-run")
    assert (result.exit_code, files(project)) == (0, before)
    assert result.stdout.count("campaign_runner_") == len(OURS)
    assert f"{len(OURS)} migrations would be copied, 0 were there before." in result.stdout


def test_a_project_without_migrations_gets_the_folder(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    assert invoke(tmp_path, "--dry-run").exit_code == 0
    assert not (tmp_path / "supabase" / "migrations").exists()
    assert invoke(tmp_path).exit_code == 0
    assert len(files(tmp_path)) == len(OURS)


def test_a_directory_without_a_project_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        result = invoke(directory)
        assert result.exit_code == 2
        assert f"Error: {directory} has no folder supabase" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_runner_itself_is_refused() -> None:
    result = invoke(migrations.OURS.parents[1])
    assert result.exit_code == 2
    assert "is the runner itself" in result.stderr


def test_without_migrations_beside_the_package_the_command_says_so(project: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run this command from a clone of the runner") as error:
        migrations.make_plan(project, NOW, ours=tmp_path / "absent")
    assert error.value.filename == tmp_path / "absent"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "migrations").touch()
    result = invoke(tmp_path)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"Error: {tmp_path / 'supabase' / 'migrations'}")
