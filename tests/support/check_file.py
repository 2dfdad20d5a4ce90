"""supabase/check.sql, made from the migration that checks a project: `python -m tests.support.check_file`."""

from __future__ import annotations

import re

from local.migration import MIGRATIONS

CHECK = MIGRATIONS.parent / "check.sql"
HEAD = """\
-- Purpose: says what keeps the campaign runner from working in this project, and what its migrations will create. To
--          paste into the SQL editor before they are applied; nothing is written.
-- Tables:  none; reads the catalogs
-- Made from migrations/20261124000000_check_project.sql, which refuses by the same check.

"""
TAIL = """\
select c.severity, c.lack, c.remedy from pg_temp.check_project(false) c order by c.severity, c.lack;
"""


def check_file() -> str:
    """The text of supabase/check.sql."""
    [migration] = MIGRATIONS.glob("*_check_project.sql")
    functions = re.findall(r"^create or replace function .*?^\$\$;\n", migration.read_text(), re.DOTALL | re.MULTILINE)
    kept = [text for text in functions if "function campaign_runner.refuse_unusable_project" not in text]
    return HEAD + "\n\n".join(kept).replace("campaign_runner.", "pg_temp.") + "\n" + TAIL


if __name__ == "__main__":
    CHECK.write_text(check_file())
