"""A release that does not exist: with a column more, and with functions that take and return something else."""

from __future__ import annotations

import shutil
from pathlib import Path

from local.migration import MIGRATIONS

CHECK = "20261124000000_check_project.sql"
COLUMN = "20270101000000_add_note.sql"
FUNCTIONS = "20270101000100_replace_functions.sql"

# The text in the functions of today, and what stands there in the next release.
CHANGES = {
    "v_newest constant integer := 1;": "v_newest constant integer := 2;",
    # The step takes something more, and answers something more.
    "    p_interface integer default 1\n)\nreturns jsonb\nlanguage plpgsql\nvolatile": (
        "    p_interface integer default 1,\n    p_note text default ''\n)\nreturns jsonb\nlanguage plpgsql\nvolatile"
    ),
    "campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer)": (
        "campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer, text)"
    ),
    "        'laid_out', v_is_laid_out,": "        'laid_out', v_is_laid_out, 'note', p_note,",
    # A function that the step calls returns a column more.
    "    out launches_after_id uuid\n)": "    out launches_after_id uuid,\n    out note text\n)",
}
BEGIN = "select campaign_runner.begin_upgrade();"
# The result of a function cannot be replaced.
DROP = "drop function if exists campaign_runner.find_work(uuid, uuid, text[], timestamptz);"
END = "select campaign_runner.drop_replaced_functions();"


def write_next_release(directory: Path) -> None:
    """All migrations of the next release: those of this one, and two more."""
    shutil.copytree(MIGRATIONS, directory)
    _write_new_files(directory)


def write_next_release_alone(directory: Path) -> None:
    """Tables and functions of the next release, and nothing of the functions of this one."""
    directory.mkdir()
    for file in _files(until="0350"):
        shutil.copy(file, directory)
    _write_new_files(directory)


def _write_new_files(directory: Path) -> None:
    (directory / COLUMN).write_text(f"{BEGIN}\nalter table campaign_runner.launches add column note text;")
    *functions, version = (file.read_text() for file in [MIGRATIONS / CHECK, *_files(since="0350")])
    text = "\n".join(functions)
    for old, new in CHANGES.items():
        assert old in text, old
        text = text.replace(old, new)
    number = version.replace("return '20261124009900'", "return '20270101000100'")
    (directory / FUNCTIONS).write_text("\n".join([BEGIN, DROP, text, END, number]))


def _files(since: str = "0000", until: str = "9900") -> list[Path]:
    """Of this release, by the number in the name. 0000 to 0300 have the tables."""
    return [file for file in sorted(MIGRATIONS.glob("*.sql")) if since <= file.name[10:14] <= until]
