"""A release that does not exist: with a column more, and with functions that take and return something else."""

from __future__ import annotations

import shutil
from pathlib import Path

from local.migration import MIGRATIONS
from tests.support.generated import SOURCES, check_functions, functions

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
END = "select campaign_runner.drop_leftover_functions();"


def write_next_release(directory: Path) -> None:
    """All migrations of the next release: those of this one, and two more."""
    shutil.copytree(MIGRATIONS, directory)
    _write_new_files(directory)


def write_next_release_alone(directory: Path) -> None:
    """Tables and functions of the next release, and of the functions of this one only those that upgrade."""
    directory.mkdir()
    for file in MIGRATIONS.glob("*.sql"):
        if not file.match("*_create_functions.sql") and not file.match("*_set_version.sql"):
            shutil.copy(file, directory)
    upgrade = [file.read_text() for file in functions() if file.parent.name == "20_upgrade"]
    (directory / "20261124000400_create_upgrade.sql").write_text("\n".join(upgrade))
    _write_new_files(directory)


def _write_new_files(directory: Path) -> None:
    (directory / COLUMN).write_text(f"{BEGIN}\nalter table campaign_runner.launches add column note text;")
    text = "\n".join(file.read_text() for file in [*check_functions(), *functions()])
    for old, new in CHANGES.items():
        assert old in text, old
        text = text.replace(old, new)
    [version] = MIGRATIONS.glob("*_set_version.sql")
    number = version.read_text().replace("return '20261124009900'", "return '20270101000100'")
    grants = (SOURCES / "grants.sql").read_text()
    (directory / FUNCTIONS).write_text("\n".join([BEGIN, DROP, text, END, grants, number]))
