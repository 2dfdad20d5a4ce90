"""`migrations`: ours, copied beside those of a project that has a history of its own.

The Supabase CLI compares a folder with the whole history of the database. So it refuses to push a folder that holds our
files alone to a project that has migrations of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from errno import ENOENT
from pathlib import Path

import click

from runner.commands.console import COULD_NOT_RUN
from runner.commands.terminal import counted, wrapped

OURS = Path(__file__).parents[2] / "supabase" / "migrations"
COPY_DIFFERS = 1
PREFIX = "campaign_runner_"  # marks our copies, so that no file of the project is taken for one of ours
VERSION = "%Y%m%d%H%M%S"
_FILE = re.compile(r"([0-9]+)_.*\.sql")  # what the CLI takes for a migration
_SECOND = timedelta(seconds=1)


class UnsuitableProject(Exception):
    """The migrations cannot be copied to this project. The message says why."""


@dataclass(frozen=True)
class Plan:
    """What a copy would do.

    copies: our files that the project lacks, in our order, each with the path of its copy
    present: copies that the project has, with our content
    differing: copies that the project has, with another content
    """

    copies: Sequence[tuple[Path, Path]]
    present: Sequence[Path]
    differing: Sequence[Path]


@click.command(
    "migrations",
    epilog="""\b
Examples:
  python -m runner migrations ../my-project --dry-run
  python -m runner migrations ../my-project

\b
Exit codes:
  0  the project has all of the runner's migrations
  1  a copy differs from this release; nothing was copied
  2  wrong usage, or the project is not suitable
  3  files could not be read or written""",
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show what would be copied, and write nothing.")
@click.pass_context
def command(context: click.Context, directory: Path, dry_run: bool) -> None:
    """Copy the runner's migrations into a project with its own.

    DIRECTORY is the folder that holds the project's folder supabase. The copies get versions of now, after those of the
    project. What was copied before is left alone, so an upgrade copies what is new. No settings and no database are
    needed.
    """
    try:
        plan = make_plan(directory, datetime.now(UTC))
        if not plan.differing and not dry_run:
            carry_out(plan.copies)
    except UnsuitableProject as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        context.exit(COULD_NOT_RUN)
    if plan.differing:
        click.echo("Error: " + difference(plan), err=True)
        context.exit(COPY_DIFFERS)
    click.echo(to_text(plan, dry_run=dry_run))


def make_plan(project: Path, now: datetime, *, ours: Path = OURS) -> Plan:
    """Compare the folder supabase/migrations of a project with ours.

    The versions of the copies are one second apart. The last one is `now`, unless the project has a later version; then
    the first one is the second after that. Raises UnsuitableProject, and OSError where files cannot be read.
    """
    files = sorted(ours.glob("*.sql"))
    if not files:
        raise FileNotFoundError(ENOENT, "no migrations are there; run this command from a clone of the runner", ours)
    if not (project / "supabase").is_dir():
        raise UnsuitableProject(f"{project} has no folder supabase: name the folder in which `supabase init` was run.")
    folder = project / "supabase" / "migrations"
    if folder.resolve() == ours.resolve():
        raise UnsuitableProject(f"{project} is the runner itself: name the folder of your own project.")

    theirs = [file for file in sorted(folder.glob("*.sql")) if _FILE.fullmatch(file.name)]
    missing: list[Path] = []
    present: list[Path] = []
    differing: list[Path] = []
    for file in files:
        copied = [other for other in theirs if file.name == other.name or _copied_name(file) == _name(other)]
        for other in copied:
            (present if _content(other) == _content(file) else differing).append(other)
        if not copied:
            missing.append(file)
    first = _first_version(theirs, now, len(missing))
    copies = [
        (file, folder / f"{first + number * _SECOND:{VERSION}}_{_copied_name(file)}")
        for number, file in enumerate(missing)
    ]
    return Plan(copies, present, differing)


def carry_out(copies: Sequence[tuple[Path, Path]]) -> None:
    """Write the copies. Raises OSError; then those that were written stay, and the next plan has the others."""
    for file, copy in copies:
        copy.parent.mkdir(exist_ok=True)
        with copy.open("xb") as new:
            new.write(file.read_bytes())


def to_text(plan: Plan, *, dry_run: bool) -> str:
    """What was or would be copied, and what to do next, for a person."""
    verb = "would be copied" if dry_run else "copied"
    lines = [f"  {copy}" for _, copy in plan.copies]
    lines += ["", f"{counted(len(plan.copies), 'migration')} {verb}, {len(plan.present):,} were there before."]
    if dry_run:
        return "\n".join(lines).lstrip("\n")
    lines += [
        "",
        *wrapped(
            "Next: commit the copies, and run `supabase db push` in that project. Never run `supabase migration "
            "repair`, which a push may advise: it would mark your own migrations as reverted."
        ),
    ]
    return "\n".join(lines).lstrip("\n")


def difference(plan: Plan) -> str:
    """What to do about the copies that differ, for a person."""
    files = "\n".join(f"  {file}" for file in plan.differing)
    # Delete all copies, and not only those that differ: a new copy comes last, after the copies that need it.
    remedy = (
        "Before 1.0, migrations change in place. If the copies were never pushed, delete all of them, and run this "
        'command again. If they were, see "An upgrade before 1.0" in docs/operations.md.'
    )
    return "\n".join(
        ["these copies differ from the migrations of this release, and nothing was copied:", files, *wrapped(remedy)]
    )


def _first_version(theirs: Sequence[Path], now: datetime, count: int) -> datetime:
    # Ending now, not beginning now: else the project's next migration could have a version before our last one.
    first = now.astimezone(UTC) - (count - 1) * _SECOND
    latest = max(theirs, key=_version, default=None)
    if count == 0 or latest is None or _version(latest) < first.strftime(VERSION):
        return first
    if not _is_time(_version(latest)):
        raise UnsuitableProject(
            f"{latest} comes after every migration of today, and its version is no time, such as {now:{VERSION}}: "
            "no version can be found for the copies."
        )
    return datetime.strptime(_version(latest), VERSION).replace(tzinfo=UTC) + _SECOND


def _is_time(version: str) -> bool:
    try:
        return datetime.strptime(version, VERSION).strftime(VERSION) == version  # strptime reads fewer digits, too
    except ValueError:
        return False


def _version(file: Path) -> str:
    return file.name.partition("_")[0]  # compared as text, as the CLI does


def _name(file: Path) -> str:
    return file.name.partition("_")[2]


def _copied_name(file: Path) -> str:
    return PREFIX + _name(file)


def _content(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")  # git may change the ends of lines
